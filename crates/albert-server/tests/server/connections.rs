//! The server on a socket: slow clients, clients that go away, overload, and the end.

use std::future::Future;
use std::time::Duration;

use albert_server::{Address, Listener, Server, Settings, Stop};
use albert_tasks::ModelFiles;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::model;

/// The time that a test waits before it fails.
const PATIENCE: Duration = Duration::from_secs(60);

struct Running {
    address: String,
    stop: oneshot::Sender<Stop>,
    ended: JoinHandle<()>,
}

async fn start(change: impl FnOnce(&mut Settings)) -> Running {
    let mut settings = Settings::default();
    settings.drain = Duration::from_millis(300);
    change(&mut settings);
    let server = Server::new(vec![model(ModelFiles::builtin().unwrap())], settings).unwrap();
    let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap())
        .await
        .unwrap();
    let Address::Tcp(address) = listener.address().unwrap() else {
        panic!("no TCP address")
    };
    let (stop, stopped) = oneshot::channel();
    let stopped = async { stopped.await.unwrap_or(Stop::Now) };
    Running {
        address: address.to_string(),
        stop,
        ended: tokio::spawn(server.serve(listener, stopped)),
    }
}

fn request(body: &str) -> String {
    format!(
        "POST /embed HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// Sends bytes and reads until the server closes the connection.
async fn exchange(address: &str, bytes: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    in_time(stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8(answer).unwrap()
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("the server does not answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_slow_loses_its_connection_and_others_do_not() {
    let server = start(|settings| settings.receive_timeout = Duration::from_millis(500)).await;
    let no_head = exchange(&server.address, "POST /embed HTTP/1.1\r\nhost:").await;
    assert!(
        no_head.is_empty() || no_head.starts_with("HTTP/1.1 408"),
        "{no_head}"
    );
    let body = "POST /embed HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 100\r\nconnection: close\r\n\r\n{";
    let no_body = exchange(&server.address, body).await;
    assert!(no_body.starts_with("HTTP/1.1 408"), "{no_body}");
    let answer = exchange(&server.address, &request("{\"inputs\": \"a\"}")).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_too_much_receives_the_reason() {
    let server = start(|settings| settings.max_body = 1_000).await;
    // More than the buffers of the connection hold.
    let body = "a".repeat(32 << 20);
    let announced = request(&body);
    let mut chunked = "POST /embed HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n".to_string();
    chunked += &format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    for bytes in [announced, chunked] {
        let answer = exchange(&server.address, &bytes).await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
        assert!(answer.contains("expected at most 1000 bytes"), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_is_answered_before_the_end() {
    let server = start(|_| {}).await;
    let texts = vec!["some words that take a moment to compute"; 600];
    let body = serde_json::json!({ "inputs": texts }).to_string();
    let address = server.address.clone();
    let answer = tokio::spawn(async move { exchange(&address, &request(&body)).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.stop.send(Stop::Drain).unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let health = "GET /health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let health = exchange(&server.address, health).await;
    assert!(health.starts_with("HTTP/1.1 503"), "{health}");
    let answer = in_time(answer).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200"),
        "{}",
        &answer[..200.min(answer.len())]
    );
    in_time(server.ended).await.unwrap();
    assert!(TcpStream::connect(&server.address).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_says_when_to_come_back_and_loses_nothing_accepted() {
    let server = start(|settings| {
        settings.queue_seconds = 0.001;
        settings.step_tokens = Some(64);
    })
    .await;
    let texts = vec!["some words that take a moment to compute"; 40];
    let body = serde_json::json!({ "inputs": texts }).to_string();
    let requests: Vec<_> = (0..12)
        .map(|_| {
            let (address, body) = (server.address.clone(), body.clone());
            tokio::spawn(async move { exchange(&address, &request(&body)).await })
        })
        .collect();
    let mut statuses = Vec::new();
    for answer in requests {
        let answer = in_time(answer).await.unwrap();
        let status: u16 = answer[9..12].parse().unwrap();
        if status == 429 {
            // The number of seconds depends on the speed that was measured.
            assert!(answer.contains("\r\nretry-after: "), "{answer}");
        }
        statuses.push(status);
    }
    assert!(
        statuses.iter().all(|status| [200, 429].contains(status)),
        "{statuses:?}"
    );
    assert!(
        statuses.contains(&200) && statuses.contains(&429),
        "{statuses:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_go_away_leave_the_queue() {
    let server = start(|settings| settings.step_tokens = Some(64)).await;
    let texts = vec!["some words that take a moment to compute"; 2_000];
    let body = serde_json::json!({ "inputs": texts }).to_string();
    let metrics = "GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let until = async |is_reached: fn(&str) -> bool| {
        while !is_reached(&exchange(&server.address, metrics).await) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    for _ in 0..5 {
        let mut stream = TcpStream::connect(&server.address).await.unwrap();
        stream.write_all(request(&body).as_bytes()).await.unwrap();
        // A client that left earlier would never have been in the queue.
        in_time(until(|text| !text.contains("\nte_queue_size 0\n"))).await;
        drop(stream);
    }
    let emptied =
        until(|text| text.contains("\nte_queue_size 0\n") && text.contains("err=\"dropped\""));
    in_time(emptied).await;
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_unix_socket_is_served_replaced_when_dead_and_removed() {
    use tokio::net::UnixStream;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("albert.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let address: Address = format!("unix:{}", path.display()).parse().unwrap();
    let server = Server::new(
        vec![model(ModelFiles::builtin().unwrap())],
        Settings::default(),
    )
    .unwrap();
    let listener = Listener::bind(&address).await.unwrap();
    let (stop, stopped) = oneshot::channel();
    let stopped = async { stopped.await.unwrap_or(Stop::Now) };
    let ended = tokio::spawn(server.serve(listener, stopped));
    let mut stream = UnixStream::connect(&path).await.unwrap();
    stream
        .write_all(request("{\"inputs\": \"a\"}").as_bytes())
        .await
        .unwrap();
    let mut answer = String::new();
    in_time(stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    stop.send(Stop::Now).unwrap();
    in_time(ended).await.unwrap();
    assert!(!path.exists());
}
