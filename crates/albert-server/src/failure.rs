//! Errors as clients see them: a status, and a body in the form of the route's API.
//!
//! | Status | Meaning | `error_type` |
//! |---|---|---|
//! | 400 | no JSON, or nothing to compute | `empty`, `validation` |
//! | 401 | no key, or a wrong one | `unauthorized` |
//! | 404 | no such model, or no such route | `model_not_found`, `not_found` |
//! | 405 | the route has another method | `validation` |
//! | 408 | the body came too slowly | `timeout` |
//! | 413 | too many texts or bytes | `batch_size`, `payload` |
//! | 415 | not `application/json` | `validation` |
//! | 422 | a value of the wrong type, or a text that is too long | `validation`, `tokenization` |
//! | 424 | the model has no head for the task | `model_type` |
//! | 429 | the queue is full | `overloaded` |
//! | 500 | a fault of the server | `inference` |
//! | 503 | ending, out of memory for bodies, or too late | `unavailable` |
//!
//! 429 and 503 have `Retry-After` in seconds and `retry-after-ms`.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// The error of a request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Failure {
    pub(crate) status: StatusCode,
    pub(crate) kind: &'static str,
    pub(crate) message: String,
    /// The field of the body that is at fault, where OpenAI's form names it.
    pub(crate) param: Option<&'static str>,
    pub(crate) retry_after: Option<Duration>,
}

impl Failure {
    fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            kind,
            message: message.into(),
            param: None,
            retry_after: None,
        }
    }

    fn later(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// Names the field of the body that is at fault.
    pub(crate) fn with_param(mut self, param: &'static str) -> Self {
        self.param = Some(param);
        self
    }

    pub(crate) fn not_json(why: impl std::fmt::Display) -> Self {
        let message = format!("the body is not JSON: {why}");
        Self::new(StatusCode::BAD_REQUEST, "validation", message)
    }

    pub(crate) fn empty(field: &'static str) -> Self {
        let message = format!("`{field}` is empty: expected at least one text");
        Self::new(StatusCode::BAD_REQUEST, "empty", message).with_param(field)
    }

    pub(crate) fn unauthorized() -> Self {
        let message = "no valid API key: expected `Authorization: Bearer KEY`";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }

    pub(crate) fn no_model(name: &str, served: &[&str]) -> Self {
        let message = format!(
            "no model `{name}`: this server has {}",
            served
                .iter()
                .map(|name| format!("`{name}`"))
                .collect::<Vec<_>>()
                .join(", ")
        );
        Self::new(StatusCode::NOT_FOUND, "model_not_found", message).with_param("model")
    }

    pub(crate) fn no_route(path: &str) -> Self {
        let message = format!("no route `{path}`: /openapi.json lists the routes");
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    pub(crate) fn other_method(path: &str) -> Self {
        let message = format!(
            "the route `{path}` does not take this method: /openapi.json lists the methods"
        );
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "validation", message)
    }

    pub(crate) fn slow_body(after: Duration) -> Self {
        let message = format!("the body was not complete after {} s", after.as_secs());
        Self::new(StatusCode::REQUEST_TIMEOUT, "timeout", message)
    }

    pub(crate) fn too_many(field: &'static str, found: usize, most: usize) -> Self {
        let message = format!("{found} texts: expected at most {most} in one request");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "batch_size", message).with_param(field)
    }

    pub(crate) fn large_body(most: usize) -> Self {
        let message = format!("the body is too large: expected at most {most} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "payload", message)
    }

    pub(crate) fn media_type(found: &str) -> Self {
        let message = format!("content type `{found}`: expected `application/json`");
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "validation", message)
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "validation", message)
    }

    pub(crate) fn model_type(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FAILED_DEPENDENCY, "model_type", message)
    }

    pub(crate) fn overloaded(queued: usize, tokens: usize, after: Duration) -> Self {
        let message = format!(
            "the queue is full: {queued} tokens wait, and the request has {tokens}; try again in {} s",
            after.as_secs()
        );
        Self::new(StatusCode::TOO_MANY_REQUESTS, "overloaded", message).later(after)
    }

    pub(crate) fn no_memory() -> Self {
        let message = "the bodies of other requests fill the memory for request bodies; try again \
                       in 1 s";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", message)
            .later(Duration::from_secs(1))
    }

    pub(crate) fn too_late(waited: Duration) -> Self {
        let message = format!(
            "the computation did not begin within the timeout: waited {:.1} s; try again in 1 s",
            waited.as_secs_f64()
        );
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
            .later(Duration::from_secs(1))
    }

    pub(crate) fn closing() -> Self {
        let message = "the server is shutting down";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
            .later(Duration::from_secs(1))
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "inference", message)
    }

    /// Returns the label of the error in the metric `te_request_failure`.
    pub(crate) fn label(&self) -> &'static str {
        match self.kind {
            "model_type" | "overloaded" | "batch_size" | "tokenization" | "inference" => self.kind,
            "unavailable" | "timeout" => "overloaded",
            _ => "validation",
        }
    }

    /// Returns the body of text-embeddings-inference's routes.
    fn tei_body(&self) -> serde_json::Value {
        json!({ "error": self.message, "error_type": self.kind })
    }

    /// Returns the body of OpenAI's routes.
    pub(crate) fn openai_body(&self) -> serde_json::Value {
        let kind = match self.status.as_u16() {
            401 => "authentication_error",
            429 => "rate_limit_error",
            500.. => "server_error",
            _ => "invalid_request_error",
        };
        json!({ "error": {
            "message": self.message,
            "type": kind,
            "param": self.param,
            "code": self.kind,
        }})
    }

    /// Returns the response with a body.
    pub(crate) fn with_body(self, body: &serde_json::Value) -> Response {
        let mut response = (self.status, axum::Json(body)).into_response();
        let headers = response.headers_mut();
        if let Some(after) = self.retry_after {
            let seconds = after.as_secs_f64().ceil() as u64;
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            headers.insert(
                "retry-after-ms",
                HeaderValue::from(after.as_millis() as u64),
            );
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let bearer = HeaderValue::from_static("Bearer");
            headers.insert(header::WWW_AUTHENTICATE, bearer);
        }
        // Read by the log, the metrics and OpenAI's routes.
        response.extensions_mut().insert(self);
        response
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = self.tei_body();
        self.with_body(&body)
    }
}

impl From<albert_tasks::Error> for Failure {
    fn from(error: albert_tasks::Error) -> Self {
        let mut message = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            message = format!("{message}: {cause}");
            source = cause.source();
        }
        if error.is_missing_head() {
            Self::model_type(message)
        } else if matches!(error, albert_tasks::Error::Tokenize(_)) {
            Self {
                kind: "tokenization",
                ..Self::invalid(message)
            }
        } else if error.is_input() {
            Self::invalid(message)
        } else {
            Self::internal(message)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_says_in_both_headers_when_to_come_back() {
        let response = Failure::overloaded(900, 200, Duration::from_secs(7)).into_response();
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()[header::RETRY_AFTER], "7");
        assert_eq!(response.headers()["retry-after-ms"], "7000");
    }

    #[test]
    fn openai_form_names_the_field() {
        let body = Failure::too_many("input", 3000, 2048).openai_body();
        assert_eq!(body["error"]["param"], "input");
        assert_eq!(body["error"]["type"], "invalid_request_error");
    }

    #[test]
    fn a_missing_head_is_the_models_and_a_missing_mask_the_requests() {
        let no_mask = albert_tasks::Error::NoMask("[MASK]".into());
        assert_eq!(Failure::from(no_mask).status.as_u16(), 422);
    }
}
