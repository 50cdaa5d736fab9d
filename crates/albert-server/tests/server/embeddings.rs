//! Embeddings: the same bits as the library's, on every route.

use std::sync::Arc;

use albert_server::{Model, Settings};
use albert_tasks::{
    EmbedOptions, Embedder, ModelFiles, RunOptions, TruncationSide, WeightFormat, cosine,
};
use base64::Engine;
use serde_json::{Value, json};

use crate::{Client, fixture, vector};

const TEXTS: [&str; 4] = [
    "A man is playing a guitar.",
    "",
    "Someone plays an instrument in a room full of people who listen.",
    "ALBERT shares its layers.",
];

fn embedder() -> Embedder {
    Embedder::from_pretrained("albert-mini-en").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn embed_returns_the_librarys_own_bits() {
    let client = Client::builtin();
    let answer = client.ask("/embed", json!({ "inputs": TEXTS })).await;
    let expected = embedder().embed(&TEXTS).unwrap();
    for (found, expected) in answer.as_array().unwrap().iter().zip(&expected) {
        assert_eq!(vector(found), expected.vector);
    }
    let one = client.ask("/embed", json!({ "inputs": TEXTS[0] })).await;
    assert_eq!(one, json!([answer[0]]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_has_the_same_bits_whoever_else_is_there() {
    for weights in [WeightFormat::F32, WeightFormat::Int8] {
        let mut options = RunOptions::default();
        options.load.weights = weights;
        has_the_same_bits_whoever_else_is_there(&options).await;
    }
}

async fn has_the_same_bits_whoever_else_is_there(options: &RunOptions) {
    let files = ModelFiles::builtin().unwrap();
    let model = Model::load(files.clone(), options.clone()).unwrap();
    let client = Arc::new(Client::with_settings(vec![model], Settings::default()));
    let texts: Vec<String> = (0..60)
        .map(|n| "A sentence of several words. ".repeat(1 + n % 11))
        .collect();
    let embedder = Embedder::load(&files, options).unwrap();
    let expected = embedder.embed(&texts).unwrap();
    // Requests of 1 to 12 texts, all at once, some of them of another width.
    let mut requests = Vec::new();
    let mut first = 0;
    for size in (1..=12).cycle() {
        let Some(texts) = texts.get(first..first + size) else {
            break;
        };
        let client = Arc::clone(&client);
        let mut body = json!({ "inputs": texts });
        if size % 3 == 0 {
            body["dimensions"] = json!(64);
        }
        let answer = tokio::spawn(async move { client.ask("/embed", body).await });
        requests.push((first, size, answer));
        first += size;
    }
    for (first, size, answer) in requests {
        let answer = answer.await.unwrap();
        for (index, found) in answer.as_array().unwrap().iter().enumerate() {
            let found = vector(found);
            if size % 3 == 0 {
                assert_eq!(found.len(), 64);
            } else {
                assert_eq!(
                    found,
                    expected[first + index].vector,
                    "text {}",
                    first + index
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn openai_clients_get_base64_of_the_same_numbers() {
    let client = Client::builtin();
    let request = |format: &str| json!({ "input": TEXTS, "encoding_format": format });
    let floats = client.ask("/v1/embeddings", request("float")).await;
    let coded = client.ask("/embeddings", request("base64")).await;
    for (row, (floats, coded)) in rows(&floats).iter().zip(rows(&coded)).enumerate() {
        let text = coded["embedding"].as_str().unwrap();
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(text)
            .unwrap();
        let values: Vec<f32> = bytes
            .chunks_exact(4)
            .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
            .collect();
        assert_eq!(values, vector(&floats["embedding"]));
        assert_eq!(floats["index"], row);
    }
    let tokens: usize = embedder()
        .embed(&TEXTS)
        .unwrap()
        .iter()
        .map(|it| it.tokens)
        .sum();
    assert_eq!(floats["usage"]["total_tokens"], tokens);
    assert_eq!(floats["model"], "albert-mini-en");
}

fn rows(answer: &Value) -> &Vec<Value> {
    answer["data"].as_array().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_options_of_a_request_are_those_of_the_library() {
    let client = Client::builtin();
    let long = "word ".repeat(2_000) + "end";
    let answer = client
        .ask(
            "/embed",
            json!({
                "inputs": [long], "normalize": false, "dimensions": 16,
                "prompt": "query: ", "truncation_direction": "Left",
            }),
        )
        .await;
    let options = EmbedOptions::default()
        .with_normalize(false)
        .with_truncate_dim(16)
        .with_prompt("query: ")
        .with_truncation(TruncationSide::Left);
    let expected = embedder().embed_with(&[&long], &options).unwrap();
    assert_eq!(vector(&answer[0]), expected[0].vector);

    let narrow = |dimensions: Value| json!({ "inputs": "a", "dimensions": dimensions });
    let integer = client.ask("/embed", narrow(json!(16))).await;
    assert_eq!(client.ask("/embed", narrow(json!(16.0))).await, integer);

    let (status, refused) = client
        .post(
            "/embed",
            json!({ "inputs": ["a", long], "truncate": false }),
        )
        .await;
    assert_eq!(status, 422);
    assert!(
        refused["error"]
            .as_str()
            .unwrap()
            .starts_with("text 1 has more than"),
        "{refused}"
    );
    for unknown in [
        json!({ "inputs": "a", "prompt_name": "none" }),
        json!({ "inputs": "a", "prompt_name": "none", "prompt": "query: " }),
    ] {
        let (status, refused) = client.post("/embed", unknown).await;
        assert_eq!(
            (status.as_u16(), &refused["error_type"]),
            (422, &json!("validation"))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn token_vectors_similarities_and_weaviates_vectors_are_the_librarys() {
    let client = Client::builtin();
    let embedder = embedder();
    let tokens = client
        .ask("/embed_all", json!({ "inputs": TEXTS[0] }))
        .await;
    let expected = embedder.embed_tokens(&[TEXTS[0]]).unwrap();
    for (found, expected) in tokens[0]
        .as_array()
        .unwrap()
        .iter()
        .zip(&expected[0].vectors)
    {
        assert_eq!(vector(found), *expected);
    }

    let inputs = json!({ "source_sentence": TEXTS[0], "sentences": [TEXTS[2], TEXTS[3]] });
    let found = client.ask("/similarity", json!({ "inputs": inputs })).await;
    let vectors = embedder.embed(&TEXTS).unwrap();
    let expected = [2, 3].map(|other| cosine(&vectors[0].vector, &vectors[other].vector));
    assert_eq!(vector(&found), expected);
    assert_eq!(client.ask("/", json!({ "inputs": inputs })).await, found);

    let answer = client
        .ask("/vectors", json!({ "text": TEXTS[0], "config": {} }))
        .await;
    assert_eq!(vector(&answer["vector"]), vectors[0].vector);
    assert_eq!(answer["dim"], embedder.dim());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_chooses_a_model_by_its_name() {
    let other = Embedder::load(&fixture("tiny"), &RunOptions::default()).unwrap();
    let client = Client::with_settings(
        vec![
            crate::model(albert_tasks::ModelFiles::builtin().unwrap()),
            crate::model(fixture("tiny")).with_name("tiny"),
        ],
        albert_server::Settings::default(),
    );
    let answer = client
        .ask("/v1/embeddings", json!({ "input": "a b", "model": "tiny" }))
        .await;
    let expected = other.embed(&["a b"]).unwrap();
    assert_eq!(vector(&answer["data"][0]["embedding"]), expected[0].vector);
    let (_, models) = crate::json(client.get("/v1/models").await).await;
    assert_eq!(models["data"][1]["id"], "tiny");

    let (status, refused) = client
        .post("/v1/embeddings", json!({ "input": "a", "model": "gpt" }))
        .await;
    assert_eq!(status, 404);
    assert_eq!(refused["error"]["code"], "model_not_found");
    assert_eq!(refused["error"]["param"], "model");
}

#[tokio::test(flavor = "multi_thread")]
async fn token_ids_are_texts_if_the_server_takes_them() {
    let mut settings = Settings::default();
    settings.allow_ids = true;
    let model = Model::load(ModelFiles::builtin().unwrap(), RunOptions::default()).unwrap();
    let client = Client::with_settings(vec![model], settings);
    let expected = client.ask("/embed", json!({ "inputs": TEXTS })).await;
    let embedder = embedder();
    let ids: Vec<Vec<u32>> = TEXTS
        .iter()
        .map(|text| {
            embedder
                .tokenizer()
                .ids_without_special_tokens(text)
                .unwrap()
        })
        .collect();
    assert_eq!(
        client.ask("/embed", json!({ "inputs": ids })).await,
        expected
    );
    let one = client.ask("/", json!({ "inputs": ids[0] })).await;
    assert_eq!(one, json!([expected[0]]));
    let openai = client.ask("/v1/embeddings", json!({ "input": ids })).await;
    assert_eq!(openai["data"][2]["embedding"], expected[2]);
    let pieces = embedder.tokenizer().vocab_size();
    let too_high = format!("expected ids below {pieces}");
    for (body, part) in [
        (json!({ "inputs": [pieces] }), too_high.as_str()),
        (
            json!({ "inputs": [1], "prompt": "query: " }),
            "takes no prompt",
        ),
        (json!({ "inputs": [1, "a"] }), "expected token ids"),
    ] {
        let (status, answer) = client.post("/embed", body).await;
        assert_eq!(status, 422, "{answer}");
        assert!(answer["error"].as_str().unwrap().contains(part), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn vertex_answers_several_requests_as_the_root_answers_each() {
    let client = Client::builtin();
    let embed = json!({ "inputs": TEXTS[0] });
    let compare = json!({ "inputs": { "source_sentence": "a", "sentences": ["b", "c"] } });
    let expected = [
        client.ask("/", embed.clone()).await,
        client.ask("/", compare.clone()).await,
    ];
    let answer = client
        .ask("/vertex", json!({ "instances": [embed, compare] }))
        .await;
    assert_eq!(answer, json!({ "predictions": expected }));
    let (status, _) = client.post("/vertex", json!({ "instances": [] })).await;
    assert_eq!(status, 400);
    let wrong = json!({ "instances": [{ "inputs": "a" }, { "inputs": 3 }] });
    let (status, answer) = client.post("/vertex", wrong).await;
    assert_eq!(status, 422);
    assert!(
        answer["error"]
            .as_str()
            .unwrap()
            .contains("expected a string")
    );
}
