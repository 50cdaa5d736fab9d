//! A Hub for tests, on this machine: its API and its files on one port, the storage that large
//! files are redirected to on another, as the real one has it; with faults on demand.

// Two test programs use this file, each a part of it.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use ring::digest;
use serde_json::json;

/// The token that the server knows.
pub(crate) const TOKEN: &str = "hf_test";

/// A part of the signed address without which the storage refuses.
const SIGNATURE: &str = "X-Signature=abc";

/// Files of a repository by name.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// One request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) at_storage: bool,
    pub(crate) method: String,
    pub(crate) path: String,
    headers: BTreeMap<String, String>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// A fault in the answer to a request.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// This answer in place of the right one.
    Answer(u16, Vec<(&'static str, String)>),
    /// The connection closes after this many bytes of the content.
    Cut(usize),
    /// Nothing more comes after this many bytes, until the client leaves.
    Stall(usize),
    /// The content comes after this time.
    Slow(Duration),
    /// A byte of the content is changed.
    Damage,
    /// `Range` is not understood.
    NoRange,
    /// An answer with a part of the content does not say which part.
    NoContentRange,
    /// The storage has this many bytes of the content, whatever was announced.
    Short(usize),
}

#[derive(Default)]
struct State {
    repositories: BTreeMap<String, Repository>,
    redirects: BTreeMap<String, String>,
    faults: Vec<(&'static str, &'static str, usize, Fault)>,
    log: Vec<Request>,
}

struct Repository {
    /// Every commit that ever was, the last one `main`.
    commits: Vec<(String, Files)>,
    gated: bool,
}

/// The server; it lives as long as the test program.
pub(crate) struct HubServer {
    state: Arc<Mutex<State>>,
    hub: SocketAddr,
}

impl HubServer {
    pub(crate) fn start() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let storage = listen(Arc::clone(&state), true, None);
        let hub = listen(Arc::clone(&state), false, Some(storage));
        Self { state, hub }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.hub)
    }

    /// Makes these files the next commit of a model's `main`, and gives the commit.
    pub(crate) fn commit(&self, id: &str, files: Files) -> String {
        let mut state = self.state.lock().unwrap();
        let repository = state
            .repositories
            .entry(id.to_string())
            .or_insert_with(|| Repository {
                commits: Vec::new(),
                gated: false,
            });
        let commit = sha1(format!("{id} {}", repository.commits.len()).as_bytes());
        repository.commits.push((commit.clone(), files));
        commit
    }

    pub(crate) fn gate(&self, id: &str) {
        self.state
            .lock()
            .unwrap()
            .repositories
            .get_mut(id)
            .unwrap()
            .gated = true;
    }

    /// Renames a model, so that its old name redirects.
    pub(crate) fn rename(&self, old: &str, new: &str) {
        self.state
            .lock()
            .unwrap()
            .redirects
            .insert(old.to_string(), new.to_string());
    }

    /// Lets the next `times` requests of this method whose path has `part` go wrong.
    pub(crate) fn fault(
        &self,
        method: &'static str,
        part: &'static str,
        times: usize,
        fault: Fault,
    ) {
        self.state
            .lock()
            .unwrap()
            .faults
            .push((method, part, times, fault));
    }

    /// The requests since the last call.
    pub(crate) fn take_log(&self) -> Vec<Request> {
        std::mem::take(&mut self.state.lock().unwrap().log)
    }
}

/// The files of the tiny model.
pub(crate) fn tiny_files() -> Files {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../albert-tasks/tests/fixtures/tiny");
    let mut files = Files::new();
    for name in [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "modules.json",
        "1_Pooling/config.json",
        "sentence_bert_config.json",
    ] {
        files.insert(name.to_string(), fs::read(folder.join(name)).unwrap());
    }
    files
}

/// The hash that names a file's content: sha256 for large files, git's for small ones.
pub(crate) fn etag(name: &str, content: &[u8]) -> String {
    if is_large(name) {
        hex(digest::digest(&digest::SHA256, content).as_ref())
    } else {
        sha1(&[format!("blob {}\0", content.len()).as_bytes(), content].concat())
    }
}

/// Starts a proxy that opens tunnels; returns its address and the requested hosts.
pub(crate) fn proxy() -> (String, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let log = Arc::clone(&asked);
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let log = Arc::clone(&log);
            thread::spawn(move || forward(client, &log));
        }
    });
    (address, asked)
}

/// Forwards requests for `http://` addresses in the absolute form. As many proxies do, this one
/// refuses a tunnel to any port but 443.
fn forward(mut client: TcpStream, log: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(client.try_clone().unwrap());
    if let Some(request) = read_request(&mut reader, false) {
        let address = request.path.strip_prefix("http://");
        let Some((host, path)) = address.and_then(|address| address.split_once('/')) else {
            let refused = b"HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 0\r\n\r\n";
            let _ = client.write_all(refused);
            return;
        };
        let authorization = request.header("proxy-authorization").unwrap_or_default();
        let line = format!("{host} {authorization}");
        log.lock().unwrap().push(line.trim_end().to_string());
        let mut server = TcpStream::connect(host).unwrap();
        let mut head = format!("{} /{path} HTTP/1.1\r\n", request.method);
        for (name, value) in request
            .headers
            .iter()
            .filter(|(name, _)| *name != "connection")
        {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        // Its end then shows the end of the answer.
        head.push_str("connection: close\r\n\r\n");
        server.write_all(head.as_bytes()).unwrap();
        let _ = server.shutdown(std::net::Shutdown::Write);
        // Either end may close whenever it likes.
        let _ = std::io::copy(&mut server, &mut client);
        let _ = client.shutdown(std::net::Shutdown::Both);
    }
}

fn listen(state: Arc<Mutex<State>>, at_storage: bool, storage: Option<SocketAddr>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let state = Arc::clone(&state);
            thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                while let Some(request) = read_request(&mut reader, at_storage) {
                    if !serve(&state, storage, &request, &stream) {
                        return;
                    }
                }
            });
        }
    });
    address
}

fn read_request(reader: &mut impl BufRead, at_storage: bool) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_string(), words.next()?.to_string());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        match line.trim().split_once(": ") {
            Some((name, value)) => headers.insert(name.to_lowercase(), value.to_string()),
            None => {
                return Some(Request {
                    at_storage,
                    method,
                    path,
                    headers,
                });
            }
        };
    }
}

struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn new(status: u16, headers: Vec<(&'static str, String)>) -> Self {
        Self {
            status,
            headers,
            body: Vec::new(),
        }
    }

    fn error(status: u16, code: &str, message: &str) -> Self {
        Self::new(
            status,
            vec![
                ("X-Error-Code", code.to_string()),
                ("X-Error-Message", message.to_string()),
            ],
        )
    }
}

/// Answers one request; returns true if the connection stays open.
fn serve(
    state: &Mutex<State>,
    storage: Option<SocketAddr>,
    request: &Request,
    mut stream: &TcpStream,
) -> bool {
    let (answer, fault) = {
        let mut state = state.lock().unwrap();
        state.log.push(request.clone());
        let hits = |(method, part, times, _): &&mut (&str, &str, usize, Fault)| {
            *times > 0 && *method == request.method && request.path.contains(*part)
        };
        let fault = state
            .faults
            .iter_mut()
            .find(hits)
            .map(|(_, _, times, fault)| {
                *times -= 1;
                fault.clone()
            });
        let no_range = matches!(fault, Some(Fault::NoRange));
        (answer(&state, storage, request, no_range), fault)
    };
    let mut answer = answer;
    let mut sent = usize::MAX;
    let mut stalls = false;
    match fault {
        Some(Fault::Answer(status, headers)) => answer = Answer::new(status, headers),
        Some(Fault::Cut(bytes)) => sent = bytes,
        Some(Fault::Stall(bytes)) => (sent, stalls) = (bytes, true),
        Some(Fault::Slow(time)) => thread::sleep(time),
        Some(Fault::Damage) => *answer.body.last_mut().unwrap() ^= 1,
        Some(Fault::NoContentRange) => {
            answer.headers.retain(|(name, _)| *name != "Content-Range");
        }
        Some(Fault::Short(len)) => {
            let start = request.header("range").and_then(|range| {
                range
                    .strip_prefix("bytes=")?
                    .strip_suffix('-')?
                    .parse()
                    .ok()
            });
            match start.unwrap_or(0) {
                start if start >= len => answer = Answer::new(416, Vec::new()),
                start => answer.body.truncate(len - start),
            }
        }
        Some(Fault::NoRange) | None => {}
    }
    let mut head = format!("HTTP/1.1 {} X\r\n", answer.status);
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let body: &[u8] = if request.method == "HEAD" {
        &[]
    } else {
        &answer.body
    };
    head.push_str(&format!("Content-Length: {}\r\n\r\n", answer.body.len()));
    let cut = sent < body.len();
    // In one piece, or the system waits for the client before it sends the second. The client may
    // be gone: that is its right.
    let _ = stream.write_all(&[head.as_bytes(), &body[..sent.min(body.len())]].concat());
    if stalls && cut {
        let _ = stream.read(&mut [0]);
    }
    if cut {
        let _ = stream.shutdown(std::net::Shutdown::Both);
    }
    !cut
}

fn answer(state: &State, storage: Option<SocketAddr>, request: &Request, no_range: bool) -> Answer {
    let path = request.path.split('?').next().unwrap();
    let not_found = || Answer::error(401, "RepoNotFound", "Repository not found");
    let Some(storage) = storage else {
        if !request.path.contains(SIGNATURE) || request.header("authorization").is_some() {
            return Answer::error(403, "", "signature");
        }
        return content(
            &find(state, &path[1..]).unwrap(),
            request,
            no_range,
            Vec::new(),
        );
    };
    if let Some(authorization) = request.header("authorization")
        && authorization != format!("Bearer {TOKEN}")
    {
        return Answer::error(401, "", "Invalid credentials in Authorization header");
    }
    let is_api = path.starts_with("/api/models/");
    let rest = path
        .trim_start_matches("/api/models/")
        .trim_start_matches('/');
    let (id, rest) = match rest.split_once(if is_api { "/revision/" } else { "/resolve/" }) {
        Some(parts) => parts,
        None => return Answer::new(404, Vec::new()),
    };
    if let Some(new) = state.redirects.get(id) {
        return Answer::new(307, vec![("Location", path.replacen(id, new, 1))]);
    }
    let Some(repository) = state.repositories.get(id) else {
        return not_found();
    };
    if repository.gated {
        return Answer::error(403, "GatedRepo", "Access to model is restricted");
    }
    let (revision, file) = match rest.split_once('/') {
        Some((revision, file)) if !is_api => (revision, file),
        _ => (rest, ""),
    };
    let known = repository
        .commits
        .iter()
        .find(|(commit, _)| commit == revision);
    let Some((commit, files)) = known.or(repository.commits.last().filter(|_| revision == "main"))
    else {
        return Answer::error(404, "RevisionNotFound", "Invalid rev id");
    };
    if is_api {
        let siblings: Vec<_> = files
            .keys()
            .map(|name| json!({"rfilename": name}))
            .collect();
        let body = json!({"id": id, "sha": commit, "siblings": siblings})
            .to_string()
            .into_bytes();
        return Answer {
            status: 200,
            headers: vec![("Content-Type", "application/json".into())],
            body,
        };
    }
    let mut headers = vec![("X-Repo-Commit", commit.clone())];
    let Some(found) = files.get(file) else {
        headers.push(("X-Error-Code", "EntryNotFound".to_string()));
        return Answer::new(404, headers);
    };
    let etag = etag(file, found);
    if !is_large(file) {
        headers.push(("ETag", format!("W/\"{etag}\"")));
        return content(found, request, no_range, headers);
    }
    headers.push(("X-Linked-Etag", format!("\"{etag}\"")));
    headers.push(("X-Linked-Size", found.len().to_string()));
    headers.push(("ETag", "\"of-the-redirect\"".to_string()));
    headers.push((
        "Location",
        format!("http://{storage}/{id}/{commit}/{file}?{SIGNATURE}"),
    ));
    Answer::new(302, headers)
}

/// The file at `owner/name/commit/file`.
fn find(state: &State, path: &str) -> Option<Vec<u8>> {
    state.repositories.iter().find_map(|(id, repository)| {
        let rest = path.strip_prefix(id.as_str())?.strip_prefix('/')?;
        let (commit, file) = rest.split_once('/')?;
        repository
            .commits
            .iter()
            .find(|(known, _)| known == commit)?
            .1
            .get(file)
            .cloned()
    })
}

fn content(
    content: &[u8],
    request: &Request,
    no_range: bool,
    headers: Vec<(&'static str, String)>,
) -> Answer {
    let mut answer = Answer {
        status: 200,
        headers,
        body: content.to_vec(),
    };
    let range: Option<usize> = request.header("range").and_then(|range| {
        range
            .strip_prefix("bytes=")?
            .strip_suffix('-')?
            .parse()
            .ok()
    });
    match range {
        Some(start) if !no_range && start < content.len() => {
            answer.status = 206;
            let range = format!("bytes {start}-{}/{}", content.len() - 1, content.len());
            answer.headers.push(("Content-Range", range));
            answer.body.drain(..start);
        }
        Some(_) if !no_range => answer = Answer::new(416, Vec::new()),
        _ => {}
    }
    answer
}

fn is_large(name: &str) -> bool {
    [".safetensors", ".bin", ".h5", ".onnx"]
        .iter()
        .any(|ending| name.ends_with(ending))
}

fn sha1(content: &[u8]) -> String {
    hex(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, content).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
