//! Wrong, large and unauthorized requests, and the routes that say how the server is.

use albert_server::{Error, Keys, Server, Settings};
use albert_tasks::ModelFiles;
use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use crate::{Client, model, post, text};

fn limited(change: impl FnOnce(&mut Settings)) -> Client {
    let mut settings = Settings::default();
    change(&mut settings);
    Client::with_settings(vec![model(ModelFiles::builtin().unwrap())], settings)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_body_is_refused_with_what_is_wrong() {
    let client = limited(|settings| {
        settings.max_texts = 3;
        settings.max_body = 1_000;
    });
    let long = format!("{{\"inputs\": \"{}\"}}", "a".repeat(1_000));
    let deep = "[".repeat(900);
    for (body, status, part) in [
        ("", 400, "the body is not JSON: it is empty"),
        ("{", 400, "the body is not JSON"),
        (&deep, 400, "the body is not JSON"),
        ("{}", 422, "missing field `inputs`"),
        (
            "{\"inputs\": 3}",
            422,
            "expected a string or a list of strings, found a number",
        ),
        (
            "{\"inputs\": [[1, 2]]}",
            422,
            "check_embedding_ctx_length=False",
        ),
        (
            "{\"inputs\": [\"a\", null]}",
            422,
            "text 1: expected a string, found null",
        ),
        ("{\"inputs\": []}", 400, "`inputs` is empty"),
        ("[\"a\"]", 422, "expected an object, found a list"),
        ("[\"a\"", 400, "the body is not JSON"),
        (
            "{\"inputs\": [\"\", \"\", \"\", \"\"]}",
            413,
            "expected at most 3",
        ),
        ("{\"inputs\": \"a\", \"dimensions\": 0}", 422, "0"),
        ("{\"inputs\": \"a\\ud800\"}", 400, "the body is not JSON"),
        (&long, 413, "expected at most 1000 bytes"),
    ] {
        let response = client.send(post("/embed", body.to_string())).await;
        let found = response.status().as_u16();
        let answer: Value = serde_json::from_str(&text(response).await).unwrap();
        assert_eq!(found, status, "{body}: {answer}");
        assert!(
            answer["error"].as_str().unwrap().contains(part),
            "{body}: {answer}"
        );
    }
    let form = Request::post("/embed").header("content-type", "text/plain");
    let response = client.send(form.body(Body::from("{}")).unwrap()).await;
    assert_eq!(response.status(), 415);
    assert_eq!(client.get("/embed").await.status(), 405);
    assert_eq!(client.get("/nothing").await.status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fields_of_an_object_are_not_read_from_a_list() {
    let client = Client::builtin();
    for (route, body) in [
        (
            "/fill_mask",
            json!({ "inputs": "[MASK]", "parameters": [1] }),
        ),
        ("/similarity", json!({ "inputs": ["a", ["b"]] })),
        ("/answer", json!({ "inputs": ["a", "b"] })),
        ("/tag", json!({ "inputs": "a", "parameters": [null, null] })),
        (
            "/zero_shot",
            json!({ "inputs": "a", "parameters": [["b"]] }),
        ),
    ] {
        let (status, answer) = client.post(route, body).await;
        assert_eq!(status, 422, "{route}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_cannot_begin_in_time_is_refused() {
    let client = std::sync::Arc::new(limited(|settings| {
        settings.timeout = Some(std::time::Duration::from_millis(1));
        // One text in each step, which takes longer than that, and room for all requests.
        settings.step_tokens = Some(512);
        settings.queue_seconds = 86_400.0;
    }));
    let body = json!({ "inputs": vec!["a river in a town ".repeat(80); 8] });
    let mut requests = Vec::new();
    for _ in 0..8 {
        let (client, body) = (std::sync::Arc::clone(&client), body.clone());
        requests.push(tokio::spawn(async move {
            let response = client.send(post("/embed", body.to_string())).await;
            let after = response.headers().get("retry-after").cloned();
            (response.status().as_u16(), after, text(response).await)
        }));
    }
    let mut late = 0;
    for request in requests {
        let (status, after, answer) = request.await.unwrap();
        if status == 503 {
            assert_eq!(after.unwrap(), "1");
            assert!(
                answer.contains("did not begin within the timeout"),
                "{answer}"
            );
            late += 1;
        } else {
            assert_eq!(status, 200, "{answer}");
        }
    }
    assert!(late > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn openai_routes_have_openais_form_of_errors() {
    let client = Client::builtin();
    let (status, answer) = client.post("/v1/embeddings", json!({ "input": [] })).await;
    assert_eq!(status, 400);
    assert_eq!(answer["error"]["param"], "input");
    assert_eq!(answer["error"]["type"], "invalid_request_error");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_only_the_state_is_shown() {
    let client = limited(|settings| settings.keys = Keys::from_lines("secret"));
    for (route, status) in [
        ("/health", 200),
        ("/ping", 200),
        ("/metrics", 200),
        ("/info", 401),
    ] {
        assert_eq!(client.get(route).await.status(), status, "{route}");
    }
    let refused = client
        .send(post("/v1/embeddings", "{\"input\": \"a\"}"))
        .await;
    assert_eq!(refused.status(), 401);
    assert_eq!(refused.headers()["www-authenticate"], "Bearer");
    let (_, answer) = crate::json(refused).await;
    assert_eq!(answer["error"]["type"], "authentication_error");

    let mut request = post("/embed", "{\"inputs\": \"a\"}");
    request
        .headers_mut()
        .insert("authorization", "Bearer secret".parse().unwrap());
    assert_eq!(client.send(request).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_has_its_id_and_its_times() {
    let client = Client::builtin();
    let mut request = post("/embed", "{\"inputs\": \"a\"}");
    request
        .headers_mut()
        .insert("x-request-id", "mine".parse().unwrap());
    let response = client.send(request).await;
    assert_eq!(response.headers()["x-request-id"], "mine");
    for name in [
        "x-total-time",
        "x-tokenization-time",
        "x-queue-time",
        "x-inference-time",
    ] {
        let time = response.headers()[name].to_str().unwrap();
        assert!(time.parse::<u64>().is_ok(), "{name}: {time}");
    }
    assert!(
        client
            .get("/health")
            .await
            .headers()
            .contains_key("x-request-id")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_what_was_answered() {
    let client = Client::builtin();
    client.ask("/embed", json!({ "inputs": ["a", "b"] })).await;
    client.post("/embed", json!({ "inputs": [] })).await;
    let metrics = text(client.get("/metrics").await).await;
    for line in [
        "te_request_count{method=\"batch\"} 1",
        "te_request_success{method=\"batch\"} 1",
        "te_request_failure{err=\"validation\"} 1",
        "te_embed_success 2",
        "te_queue_size 0",
    ] {
        assert!(
            metrics.lines().any(|it| it == line),
            "{line} is not in\n{metrics}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_description_names_every_route() {
    let client = Client::builtin();
    let (_, description) = crate::json(client.get("/openapi.json").await).await;
    for route in [
        "/embed",
        "/v1/embeddings",
        "/vertex",
        "/fill_mask",
        "/health",
    ] {
        assert!(description["paths"].get(route).is_some(), "{route}");
    }
    // What the model cannot do is not described.
    assert!(description["paths"].get("/tag").is_none());
    let schemas = &description["components"]["schemas"];
    let embedding = client.ask("/embed", json!({ "inputs": "a" })).await;
    assert_eq!(
        schemas["EmbedRequest"]["properties"]["dimensions"]["maximum"],
        embedding[0].as_array().unwrap().len()
    );
    let texts = &schemas["Texts"]["oneOf"][1];
    assert_eq!(texts["minItems"], 1);
    // The number of texts is a limit of the server, and 413 the answer beyond it.
    assert!(texts.get("maxItems").is_none(), "{texts}");
    let too_large = &description["paths"]["/embed"]["post"]["responses"]["413"];
    let expected = "The request has more than 2048 texts or 32000000 bytes";
    assert_eq!(too_large["description"], expected);
    let alive = &description["paths"]["/"]["get"]["responses"];
    assert!(alive.get("413").is_none(), "{alive}");
    assert_eq!(
        schemas["FillRequest"]["properties"]["inputs"]["oneOf"][0]["pattern"],
        "\\[MASK\\]"
    );
    let (_, info) = crate::json(client.get("/info").await).await;
    assert_eq!(info["model_id"], "albert-mini-en");
    assert_eq!(info["model_type"]["embedding"]["pooling"], "mean");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tokens_of_two_routes_are_described_apart() {
    let (_, description) = crate::json(Client::builtin().get("/openapi.json").await).await;
    let schemas = &description["components"]["schemas"];
    assert!(schemas["Token"]["properties"].get("special").is_some());
    assert!(
        schemas["FilledToken"]["properties"]
            .get("token_str")
            .is_some()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_description_has_the_routes_of_the_model() {
    for (name, route) in [
        ("single", "/v2/rerank"),
        ("single", "/predict"),
        ("entities", "/tag"),
        ("question", "/answer"),
        ("nli", "/zero_shot"),
    ] {
        let client = Client::new(crate::fixture(&format!("pipelines/{name}")));
        let (_, description) = crate::json(client.get("/openapi.json").await).await;
        let paths = &description["paths"];
        assert!(paths.get(route).is_some(), "{name}: {route}");
        assert!(paths.get("/fill_mask").is_none(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_description_of_a_tagger_has_its_options_and_answers() {
    let client = Client::new(crate::fixture("pipelines/entities"));
    let (_, description) = crate::json(client.get("/openapi.json").await).await;
    let schemas = &description["components"]["schemas"];
    let properties = &schemas["TagParameters"]["properties"];
    let strategies = json!(["none", "simple", "first", "average", "max", null]);
    assert_eq!(properties["aggregation_strategy"]["enum"], strategies);
    let longest = properties["stride"]["maximum"].as_u64().unwrap();
    let ask = |stride: u64| {
        let body = json!({ "inputs": "a", "parameters": { "stride": stride } });
        client.post("/tag", body)
    };
    assert_eq!(ask(longest).await.0, 200);
    assert_eq!(ask(longest + 1).await.0, 422);
    assert!(schemas["FoundEntity"]["properties"].get("word").is_some());
    assert_eq!(schemas["Tagged"]["anyOf"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn token_ids_are_described_where_the_server_takes_them() {
    for allow_ids in [false, true] {
        let client = limited(|settings| settings.allow_ids = allow_ids);
        let (_, description) = crate::json(client.get("/openapi.json").await).await;
        let schemas = &description["components"]["schemas"];
        for (request, field) in [("EmbedRequest", "inputs"), ("EmbeddingsRequest", "input")] {
            let forms = &schemas[request]["properties"][field]["anyOf"];
            assert_eq!(forms.is_array(), allow_ids, "{request}");
        }
        let scored = &schemas["ScoreRequest"]["properties"]["inputs"];
        assert!(scored.get("anyOf").is_none(), "{scored}");
    }
}

#[test]
fn a_server_needs_models_of_different_names() {
    let files = || ModelFiles::builtin().unwrap();
    let error = |models| Server::new(models, Settings::default()).unwrap_err();
    assert!(matches!(error(Vec::new()), Error::NoModel));
    let two = vec![model(files()), model(files())];
    assert!(matches!(error(two), Error::SameName(name) if name == "albert-mini-en"));
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_share_a_bounded_memory() {
    let client = limited(|settings| settings.max_body_memory = 64);
    let body = format!("{{\"inputs\": \"{}\"}}", "a".repeat(100));
    let response = client.send(post("/embed", body)).await;
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "1");
}
