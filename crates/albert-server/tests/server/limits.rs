//! Wrong, large and unauthorized requests, and the routes that say how the server is.

use albert_server::{Keys, Settings};
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
        "/rerank",
        "/v2/rerank",
        "/fill_mask",
        "/health",
    ] {
        assert!(description["paths"].get(route).is_some(), "{route}");
    }
    let (_, info) = crate::json(client.get("/info").await).await;
    assert_eq!(info["model_id"], "albert-mini-en");
    assert_eq!(info["model_type"]["embedding"]["pooling"], "mean");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_share_a_bounded_memory() {
    let client = limited(|settings| settings.max_body_memory = 64);
    let body = format!("{{\"inputs\": \"{}\"}}", "a".repeat(100));
    let response = client.send(post("/embed", body)).await;
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "1");
}
