//! The body of a request: JSON, read within limits of size, memory and time.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::header;
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout, timeout_at};

use crate::app::App;
use crate::failure::Failure;

/// A request's body as a `T`, and its share of the memory for bodies, held until the request is
/// answered.
#[derive(Debug)]
pub(crate) struct Json<T>(pub(crate) T, pub(crate) Memory);

/// The maximum number of bytes of a refused body that are read and dropped. A connection that is
/// closed with unread bytes is reset, and the client then loses the answer that says why.
const MAX_DISCARDED: usize = 64 << 20;

/// A part of the memory that all bodies share.
pub(crate) type Memory = Option<OwnedSemaphorePermit>;

impl<T: DeserializeOwned> FromRequest<Arc<App>> for Json<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Failure> {
        let (parts, mut body) = request.into_parts();
        if let Some(found) = parts.headers.get(header::CONTENT_TYPE) {
            let found = String::from_utf8_lossy(found.as_bytes());
            let media_type = found.split(';').next().unwrap_or_default().trim();
            let is_json = media_type.eq_ignore_ascii_case("application/json")
                || media_type.to_ascii_lowercase().ends_with("+json");
            if !is_json {
                return Err(Failure::media_type(&found));
            }
        }
        let limit = app.settings.receive_timeout;
        let deadline = Instant::now() + limit;
        let announced = parts.headers.get(header::CONTENT_LENGTH);
        let announced = announced.and_then(|length| length.to_str().ok()?.parse().ok());
        let received = if announced.is_some_and(|length: usize| length > app.settings.max_body) {
            Err(Failure::large_body(app.settings.max_body))
        } else {
            timeout_at(deadline, read(&mut body, app))
                .await
                .map_err(|_| Failure::slow_body(limit))?
        };
        // A client that waits for `100 Continue` sends its body only if the body is read.
        if received.is_err() && !parts.headers.contains_key(header::EXPECT) {
            // Counted from here, since a part of the time may be over when a body is refused.
            let _ = timeout(limit, discard(&mut body)).await;
        }
        let (bytes, memory) = received?;
        match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
            None => return Err(Failure::not_json("it is empty")),
            // Serde would read the fields of a struct from a list, too.
            Some(b'[') if serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).is_ok() => {
                return Err(Failure::invalid("expected an object, found a list"));
            }
            Some(_) => {}
        }
        serde_json::from_slice(&bytes)
            .map(|value| Json(value, memory))
            .map_err(|error| match error.classify() {
                serde_json::error::Category::Data => Failure::invalid(error.to_string()),
                _ => Failure::not_json(error),
            })
    }
}

/// Reads a body, and counts its bytes against the memory for all bodies as they arrive.
async fn read(body: &mut Body, app: &App) -> Result<(Vec<u8>, Memory), Failure> {
    let (mut bytes, mut memory) = (Vec::new(), Memory::None);
    while let Some(frame) = body.frame().await {
        // The client went away, or its framing is wrong.
        let frame = frame.map_err(|error| Failure::not_json(format!("it ended early: {error}")))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if bytes.len() + data.len() > app.settings.max_body {
            return Err(Failure::large_body(app.settings.max_body));
        }
        let taken = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let permit = Arc::clone(&app.body_memory)
            .try_acquire_many_owned(taken)
            .map_err(|_| Failure::no_memory())?;
        match &mut memory {
            Some(memory) => memory.merge(permit),
            None => memory = Some(permit),
        }
        bytes.extend_from_slice(&data);
    }
    Ok((bytes, memory))
}

/// Reads the rest of a refused body, at most [`MAX_DISCARDED`] bytes, and drops it.
async fn discard(body: &mut Body) {
    let mut left = MAX_DISCARDED;
    while let Some(Ok(frame)) = body.frame().await {
        let length = frame.data_ref().map_or(0, |data| data.len());
        let Some(rest) = left.checked_sub(length) else {
            return;
        };
        left = rest;
    }
}
