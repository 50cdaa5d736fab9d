//! The routes, and the server on a socket.

mod connections;
mod embeddings;
mod limits;
mod tasks;

use std::path::Path;

use albert_server::{Model, Server, Settings};
use albert_tasks::{ModelFiles, RunOptions};
use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

/// A server with the routes, which the test calls without a socket.
struct Client {
    /// Computes as long as it is there.
    _server: Server,
    router: Router,
}

impl Client {
    fn new(files: ModelFiles) -> Self {
        Self::with_settings(vec![model(files)], Settings::default())
    }

    fn builtin() -> Self {
        Self::new(ModelFiles::builtin().unwrap())
    }

    fn with_settings(models: Vec<Model>, settings: Settings) -> Self {
        let server = Server::new(models, settings).unwrap();
        let router = server.router();
        Self {
            _server: server,
            router,
        }
    }

    async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.router.clone().oneshot(request).await.unwrap()
    }

    async fn post(&self, route: &str, body: Value) -> (StatusCode, Value) {
        json(self.send(post(route, body.to_string())).await).await
    }

    /// Returns the answer to a request that must succeed.
    async fn ask(&self, route: &str, body: Value) -> Value {
        let (status, answer) = self.post(route, body).await;
        assert_eq!(status, StatusCode::OK, "{route}: {answer}");
        answer
    }

    async fn get(&self, route: &str) -> Response<Body> {
        self.send(Request::get(route).body(Body::empty()).unwrap())
            .await
    }
}

fn model(files: ModelFiles) -> Model {
    Model::load(files, RunOptions::default()).unwrap()
}

/// A small model of the tests of albert-tasks.
fn fixture(name: &str) -> ModelFiles {
    let tasks = Path::new(env!("CARGO_MANIFEST_DIR")).join("../albert-tasks/tests/fixtures");
    ModelFiles::from_dir(tasks.join(name)).unwrap()
}

fn post(route: &str, body: impl Into<Body>) -> Request<Body> {
    let request = Request::post(route).header("content-type", "application/json");
    request.body(body.into()).unwrap()
}

async fn text(response: Response<Body>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

async fn json(response: Response<Body>) -> (StatusCode, Value) {
    let status = response.status();
    let text = text(response).await;
    (
        status,
        serde_json::from_str(&text).unwrap_or(Value::String(text)),
    )
}

/// Returns the numbers of a list.
fn vector(value: &Value) -> Vec<f32> {
    let values = value
        .as_array()
        .unwrap_or_else(|| panic!("no list: {value}"));
    values
        .iter()
        .map(|value| value.as_f64().unwrap() as f32)
        .collect()
}
