//! The description of the API in OpenAPI's form: the routes that the first model can answer, with
//! its limits.

use albert_tasks::albert_model::Head;
use albert_tasks::{Aggregation, TagOptions, Tagger};
use serde_json::{Map, Value, json};

use super::description;
use crate::app::App;
use crate::failure::Failure;
use crate::model::{MainTask, Model};
use crate::settings::Settings;

/// The routes of each head, with the schema of the request that `POST /` takes for them.
const TASKS: [(Head, &[&str], Option<&str>); 5] = [
    (
        Head::MaskedLm,
        &["/fill_mask", "/score"],
        Some("FillRequest"),
    ),
    (
        Head::SequenceClassification,
        &["/predict"],
        Some("PredictRequest"),
    ),
    (Head::TokenClassification, &["/tag"], Some("TagRequest")),
    (Head::QuestionAnswering, &["/answer"], Some("AnswerRequest")),
    (
        Head::Encoder,
        &["/embed", "/embed_all", "/similarity"],
        None,
    ),
];

/// Returns the description of a server's API.
pub(super) fn of_server(app: &App) -> Result<Value, Failure> {
    let mut document = serde_json::to_value(description())
        .map_err(|error| Failure::internal(error.to_string()))?;
    let model = app.model(None)?;
    let forms = keep_routes(&mut document, &model)?;
    let one_of: Vec<Value> = forms
        .iter()
        .map(|name| json!({ "$ref": format!("#/components/schemas/{name}") }))
        .collect();
    let content = "/requestBody/content/application~1json/schema";
    set(
        &mut document,
        &format!("/paths/~1/post{content}"),
        json!({ "anyOf": one_of }),
    );
    let schemas = "/components/schemas";
    set(
        &mut document,
        &format!("{schemas}/VertexRequest/properties/instances/items"),
        json!({ "anyOf": one_of }),
    );
    limit(&mut document, &model)?;
    if app.settings.allow_ids {
        accept_ids(&mut document);
    }
    if model.main() == MainTask::Tag {
        limit_tagging(&mut document, &*model.tagger()?);
    }
    declare_too_large(&mut document, &app.settings);
    Ok(document)
}

/// Declares the answer 413 of every route that takes a body.
///
/// The number of texts is a limit of the server, as the number of bytes is, and not `maxItems` of
/// the schemas: a request with too many texts has a valid body and is answered 413, while a body that
/// breaks its schema is answered 422.
fn declare_too_large(document: &mut Value, settings: &Settings) {
    let description = format!(
        "The request has more than {} texts or {} bytes",
        settings.max_texts, settings.max_body
    );
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    for (_, path) in paths {
        let Some(responses) = path.pointer_mut("/post/responses") else {
            continue;
        };
        let mut response = responses["4XX"].clone();
        response["description"] = json!(description);
        responses["413"] = response;
    }
}

/// Removes the routes that the first model cannot answer, and returns the names of the schemas that
/// `POST /` takes.
fn keep_routes(document: &mut Value, model: &Model) -> Result<Vec<&'static str>, Failure> {
    let heads = model.heads();
    let mut forms = match model.main() {
        MainTask::Embed => vec!["EmbedRequest", "SimilarityRequest"],
        _ => vec!["SimilarityRequest"],
    };
    let mut removed: Vec<&str> = Vec::new();
    for (head, routes, form) in TASKS {
        if heads.contains(&head) {
            forms.extend(form);
        } else {
            removed.extend(routes);
        }
    }
    let (labels, entails) = model.about(|_, _, config| {
        let mut labels = (0..config.num_labels()).map(|index| config.label(index));
        let entails = labels.any(|label| label.to_lowercase().starts_with("entail"));
        (config.num_labels(), entails)
    })?;
    let classifies = heads.contains(&Head::SequenceClassification);
    if classifies && labels == 1 {
        forms.push("RerankRequest");
    } else {
        removed.extend(["/rerank", "/v1/rerank", "/v2/rerank"]);
    }
    if classifies && entails {
        forms.push("ZeroShotRequest");
    } else {
        removed.push("/zero_shot");
    }
    if let Some(paths) = document["paths"].as_object_mut() {
        paths.retain(|path, _| !removed.contains(&path.as_str()));
    }
    Ok(forms)
}

/// Adds the limits of the server and of the first model to the schemas.
fn limit(document: &mut Value, model: &Model) -> Result<(), Failure> {
    let (mask, vocab_size, hidden_size) = model.about(|tokenizer, _, config| {
        let mask = tokenizer.mask_token().to_string();
        (mask, config.vocab_size, config.hidden_size)
    })?;
    let (dim, prompts) = match model.main() {
        MainTask::Embed => {
            let embedder = model.embedder()?;
            let prompts: Vec<String> = embedder.prompts().keys().cloned().collect();
            (embedder.dim(), prompts)
        }
        _ => (hidden_size, Vec::new()),
    };
    let list = |items: Value| json!({ "type": "array", "minItems": 1, "items": items });
    let either = |one: Value, many: Value| json!({ "oneOf": [one, list(many)] });
    let text = || json!({ "type": "string" });
    let id = || json!({ "type": "integer", "minimum": 0, "maximum": vocab_size - 1 });
    let ids = json!({ "type": "array", "items": id() });
    let mut texts = either(text(), text());
    texts["examples"] = json!(["What is ALBERT?"]);
    let pattern: String = mask
        .chars()
        .flat_map(|c| [c.is_ascii_punctuation().then_some('\\'), Some(c)])
        .flatten()
        .collect();
    let masked = || json!({ "type": "string", "pattern": pattern });
    let mut fill = either(masked(), masked());
    fill["examples"] = json!([format!("She opened the {mask} and walked in.")]);
    let texts_or_pairs = json!({ "oneOf": [
        text(),
        { "type": "array", "minItems": 2, "maxItems": 2, "items": text() },
        list(json!({ "type": "array", "minItems": 1, "maxItems": 2, "items": text() })),
    ]});
    let some_ids = json!({ "type": "array", "minItems": 1, "items": id() });
    for (place, value) in [
        ("Texts", texts),
        ("Pairs", texts_or_pairs),
        ("FillRequest/properties/inputs", fill),
        ("Ids", json!({ "oneOf": [some_ids, list(ids)] })),
        ("EmbedRequest/properties/dimensions/maximum", json!(dim)),
        (
            "EmbeddingsRequest/properties/dimensions/maximum",
            json!(dim),
        ),
    ] {
        set(document, &format!("/components/schemas/{place}"), value);
    }
    let mut names: Vec<Value> = prompts.into_iter().map(Value::from).collect();
    names.push(Value::Null);
    for schema in ["EmbedRequest", "SimilarityParameters"] {
        let place = format!("/components/schemas/{schema}/properties/prompt_name/enum");
        set(document, &place, json!(names));
    }
    Ok(())
}

/// Adds token ids to the forms of texts to embed. They take no prompt.
fn accept_ids(document: &mut Value) {
    let refer = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
    let either = json!({ "anyOf": [refer("Texts"), refer("Ids")] });
    let absent = json!({ "type": "null" });
    let forms = json!([
        { "properties": { "inputs": refer("Texts") } },
        { "properties": { "prompt": absent, "prompt_name": absent } },
    ]);
    for (place, value) in [
        ("EmbedRequest/properties/inputs", &either),
        ("EmbeddingsRequest/properties/input", &either),
        ("EmbedRequest/anyOf", &forms),
    ] {
        set(
            document,
            &format!("/components/schemas/{place}"),
            value.clone(),
        );
    }
}

/// Adds the options that a tagger takes.
fn limit_tagging(document: &mut Value, tagger: &Tagger) {
    let parameters = "/components/schemas/TagParameters";
    let names = Aggregation::ALL.iter().map(|(_, name)| Some(*name));
    let names: Vec<Option<&str>> = names.chain([None]).collect();
    let strategy = format!("{parameters}/properties/aggregation_strategy/enum");
    set(document, &strategy, json!(names));
    // The error of a stride that is too long has the tokens of a window.
    let longest = TagOptions::default().with_stride(usize::MAX);
    if let Err(albert_tasks::Error::Stride { room, .. }) = tagger.check(&longest) {
        let maximum = format!("{parameters}/properties/stride/maximum");
        set(document, &maximum, json!(room.saturating_sub(1)));
    }
    // Windows cannot be joined without aggregation.
    let unjoined = json!({
        "required": ["aggregation_strategy", "stride"],
        "properties": {
            "aggregation_strategy": { "const": "none" },
            "stride": { "type": "integer" },
        },
    });
    set(document, &format!("{parameters}/not"), unjoined);
    // A text without entities has the same answer as no texts.
    let forms = document
        .pointer("/components/schemas/Tagged/oneOf")
        .cloned();
    set(
        document,
        "/components/schemas/Tagged",
        json!({ "anyOf": forms }),
    );
}

/// Sets the value at a JSON pointer whose parent exists.
fn set(document: &mut Value, pointer: &str, value: Value) {
    let Some((parent, key)) = pointer.rsplit_once('/') else {
        return;
    };
    let parent: Option<&mut Map<String, Value>> =
        document.pointer_mut(parent).and_then(Value::as_object_mut);
    if let Some(parent) = parent {
        parent.insert(key.to_string(), value);
    }
}
