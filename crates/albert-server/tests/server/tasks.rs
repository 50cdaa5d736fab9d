//! The tasks that are not embeddings, in the forms of Hugging Face, text-embeddings-inference, Jina
//! and Cohere.

use albert_tasks::{
    Answerer, Classifier, ClassifyOptions, Embedder, MaskFiller, RerankOptions, Reranker,
    RunOptions, ScoreFunction, TagOptions, Tagger, ZeroShotClassifier, ZeroShotOptions,
};
use serde_json::{Value, json};

use crate::{Client, fixture, vector};

const TEXTS: [&str; 2] = ["The doctor went to the river.", "A quiet town by the river"];

fn options() -> RunOptions {
    RunOptions::default()
}

/// Compares a number of an answer to the library's.
fn is(found: &Value, expected: f32) {
    assert_eq!(found.as_f64().map(|found| found as f32), Some(expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn predict_and_root_return_the_labels_of_the_classifier() {
    let client = Client::new(fixture("pipelines/topics"));
    let classifier = Classifier::load(&fixture("pipelines/topics"), &options()).unwrap();
    let expected = classifier
        .classify(&TEXTS, &ClassifyOptions::default())
        .unwrap();

    let one = client.ask("/predict", json!({ "inputs": TEXTS[0] })).await;
    let many = client
        .ask("/predict", json!({ "inputs": [[TEXTS[0]], [TEXTS[1]]] }))
        .await;
    assert_eq!(many[0], one);
    for (index, expected) in expected.iter().enumerate() {
        for (place, label) in expected.labels.iter().enumerate() {
            assert_eq!(many[index][place]["label"], label.label);
            is(&many[index][place]["score"], label.score);
        }
    }
    // Hugging Face's client reads a list of lists, text-embeddings-inference's a list.
    let parameters = json!({ "inputs": TEXTS[0], "parameters": { "top_k": 1 } });
    assert_eq!(client.ask("/", parameters).await, json!([[one[0]]]));
    assert_eq!(client.ask("/", json!({ "inputs": TEXTS[0] })).await, one);

    let pair = client
        .ask("/predict", json!({ "inputs": TEXTS, "raw_scores": true }))
        .await;
    let raw = ClassifyOptions::default().with_function(ScoreFunction::None);
    let expected = classifier.classify(&[(TEXTS[0], TEXTS[1])], &raw).unwrap();
    is(&pair[0]["score"], expected[0].labels[0].score);
}

#[tokio::test(flavor = "multi_thread")]
async fn rerank_answers_in_three_forms() {
    let client = Client::new(fixture("pipelines/single"));
    let reranker = Reranker::load(&fixture("pipelines/single"), &options()).unwrap();
    let probability = RerankOptions::default().with_probability(true);
    let expected = reranker.rank("river", &TEXTS, &probability).unwrap();

    let tei = json!({ "query": "river", "texts": TEXTS, "return_text": true });
    let found = client.ask("/rerank", tei.clone()).await;
    assert_eq!(client.ask("/", tei).await, found);
    for (place, ranked) in expected.iter().enumerate() {
        assert_eq!(found[place]["index"], ranked.index);
        assert_eq!(found[place]["text"], TEXTS[ranked.index]);
        is(&found[place]["score"], ranked.score);
    }
    let documents = json!([TEXTS[0], { "text": TEXTS[1] }]);
    let body = json!({ "query": "river", "documents": documents, "top_n": 1 });
    let jina = client.ask("/v1/rerank", body.clone()).await;
    assert_eq!(jina["results"].as_array().unwrap().len(), 1);
    is(&jina["results"][0]["relevance_score"], expected[0].score);
    assert!(jina["usage"]["total_tokens"].as_u64() > Some(0));
    let cohere = client.ask("/v2/rerank", body).await;
    assert_eq!(cohere["meta"]["api_version"]["version"], "2");
    assert_eq!(cohere["results"], jina["results"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn masks_are_filled_as_the_pipeline_does() {
    let client = Client::builtin();
    let filler = MaskFiller::from_pretrained("albert-mini-en").unwrap();
    let text = "She opened the [MASK] and walked in.";
    let expected = filler.fill(&[text], &Default::default()).unwrap();
    let found = client.ask("/fill_mask", json!({ "inputs": text })).await;
    for (place, candidate) in expected[0].masks[0].candidates.iter().enumerate() {
        assert_eq!(found[place]["token_str"], candidate.token);
        assert_eq!(found[place]["token"], json!(candidate.id));
        assert_eq!(found[place]["sequence"], candidate.text);
        is(&found[place]["score"], candidate.score);
    }
    let parameters = json!({ "top_k": 2, "targets": ["door", "house"] });
    let root = client
        .ask("/", json!({ "inputs": text, "parameters": parameters }))
        .await;
    assert_eq!(root.as_array().unwrap().len(), 2);
    let two = "A [MASK] and a [MASK].";
    let found = client
        .ask("/fill_mask", json!({ "inputs": [text, two] }))
        .await;
    assert_eq!(found[1].as_array().unwrap().len(), 2, "two masks");
    let (status, refused) = client
        .post("/fill_mask", json!({ "inputs": "no mask" }))
        .await;
    assert_eq!(status, 422, "{refused}");

    let scores = client.ask("/score", json!({ "inputs": TEXTS })).await;
    let expected = filler.score(&TEXTS).unwrap();
    assert_eq!(scores[1]["log_likelihood"], expected[1].log_likelihood);
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_that_share_a_model_answer_as_tasks_loaded_alone() {
    let client = Client::builtin();
    let embedder = Embedder::from_pretrained("albert-mini-en").unwrap();
    let filler = MaskFiller::from_pretrained("albert-mini-en").unwrap();
    let masked = "She opened the [MASK] and walked in.";
    let (filled, vectors, tokens, embeddings) = tokio::join!(
        client.ask("/fill_mask", json!({ "inputs": masked })),
        client.ask("/embed", json!({ "inputs": TEXTS })),
        client.ask("/tokenize", json!({ "inputs": TEXTS[0] })),
        client.ask("/v1/embeddings", json!({ "input": TEXTS })),
    );
    for (index, expected) in embedder.embed(&TEXTS).unwrap().iter().enumerate() {
        assert_eq!(vector(&vectors[index]), expected.vector);
        assert_eq!(
            vector(&embeddings["data"][index]["embedding"]),
            expected.vector
        );
    }
    let expected = filler.fill(&[masked], &Default::default()).unwrap();
    for (place, candidate) in expected[0].masks[0].candidates.iter().enumerate() {
        assert_eq!(filled[place]["token"], json!(candidate.id));
        is(&filled[place]["score"], candidate.score);
    }
    let expected = embedder.tokenizer().encode(TEXTS[0], None, None).unwrap();
    let ids = tokens[0]
        .as_array()
        .unwrap()
        .iter()
        .map(|token| token["id"].clone());
    assert_eq!(ids.collect::<Value>(), json!(expected.ids));
}

#[tokio::test(flavor = "multi_thread")]
async fn entities_are_those_of_the_tagger() {
    let client = Client::new(fixture("pipelines/entities"));
    let tagger = Tagger::load(&fixture("pipelines/entities"), &options()).unwrap();
    let expected = tagger.tag(&TEXTS, &TagOptions::default()).unwrap();
    let found = client.ask("/tag", json!({ "inputs": TEXTS })).await;
    for (found, expected) in found.as_array().unwrap().iter().zip(&expected) {
        assert_eq!(found.as_array().unwrap().len(), expected.entities.len());
        for (found, entity) in found.as_array().unwrap().iter().zip(&expected.entities) {
            assert_eq!(found["entity_group"], entity.label);
            assert_eq!(found["word"], entity.text);
            assert_eq!(
                (&found["start"], &found["end"]),
                (&json!(entity.start), &json!(entity.end))
            );
        }
    }
    let none = json!({ "inputs": TEXTS[0], "parameters": { "aggregation_strategy": "none" } });
    let found = client.ask("/", none).await;
    assert!(found[0]["entity"].is_string(), "{found}");
    let wrong = json!({ "inputs": "a", "parameters": { "aggregation_strategy": "best" } });
    assert_eq!(client.post("/tag", wrong).await.0, 422);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_those_of_the_answerer() {
    let client = Client::new(fixture("pipelines/question"));
    let answerer = Answerer::load(&fixture("pipelines/question"), &options()).unwrap();
    let expected = answerer
        .answer(&[("Who?", TEXTS[0])], &Default::default())
        .unwrap();
    let inputs = json!({ "question": "Who?", "context": TEXTS[0] });
    let found = client.ask("/answer", json!({ "inputs": inputs })).await;
    assert_eq!(found["answer"], expected[0].answers[0].answer);
    is(&found["score"], expected[0].answers[0].score);
    let several = json!({ "inputs": inputs, "parameters": { "top_k": 3 } });
    assert_eq!(client.ask("/", several).await.as_array().unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_without_training_are_those_of_the_zero_shot_classifier() {
    let client = Client::new(fixture("pipelines/nli"));
    let classifier = ZeroShotClassifier::load(&fixture("pipelines/nli"), &options()).unwrap();
    let labels = ["travel", "health"];
    let expected = classifier
        .classify(&TEXTS, &labels, &ZeroShotOptions::default())
        .unwrap();
    let parameters = json!({ "candidate_labels": labels });
    let body = json!({ "inputs": TEXTS[0], "parameters": parameters });
    let found = client.ask("/zero_shot", body.clone()).await;
    assert_eq!(client.ask("/", body).await, found);
    assert_eq!(found[0]["label"], expected[0].labels[0].label);
    is(&found[0]["score"], expected[0].labels[0].score);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_and_their_text_return() {
    let client = Client::builtin();
    let text = "A quick test";
    let tokens = client.ask("/tokenize", json!({ "inputs": text })).await;
    let tokens = tokens[0].as_array().unwrap();
    assert_eq!(
        (&tokens[0]["text"], &tokens[0]["special"]),
        (&json!("[CLS]"), &json!(true))
    );
    assert_eq!(tokens[0].get("start"), None);
    assert_eq!(
        (&tokens[2]["start"], &tokens[2]["stop"]),
        (&json!(2), &json!(7))
    );
    let ids: Vec<&Value> = tokens.iter().map(|token| &token["id"]).collect();
    let decoded = client.ask("/decode", json!({ "ids": ids })).await;
    assert_eq!(decoded, json!(["a quick test"]));
    let floats: Vec<Option<f64>> = ids.iter().map(|id| id.as_f64()).collect();
    let twice = client.ask("/decode", json!({ "ids": [floats, ids] })).await;
    assert_eq!(twice, json!(["a quick test", "a quick test"]));
    let all = client
        .ask(
            "/decode",
            json!({ "ids": ids, "skip_special_tokens": false }),
        )
        .await;
    assert!(all[0].as_str().unwrap().starts_with("[CLS]"), "{all}");
    let plain = json!({ "inputs": text, "add_special_tokens": false });
    assert_eq!(
        client.ask("/tokenize", plain).await[0]
            .as_array()
            .unwrap()
            .len(),
        3
    );
    assert_eq!(
        client
            .post("/decode", json!({ "ids": [9_999_999] }))
            .await
            .0,
        422
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_without_the_head_says_so() {
    let client = Client::builtin();
    for (route, body) in [
        ("/predict", json!({ "inputs": "a" })),
        ("/rerank", json!({ "query": "a", "texts": ["b"] })),
        ("/tag", json!({ "inputs": "a" })),
        ("/embed_sparse", json!({ "inputs": "a" })),
    ] {
        let (status, refused) = client.post(route, body).await;
        assert_eq!(
            (status.as_u16(), &refused["error_type"]),
            (424, &json!("model_type")),
            "{route}"
        );
    }
}
