//! Models of the Hub: what is fetched, what the cache then has, and what is said when it goes
//! wrong.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use albert_tasks::hub::{Event as HubEvent, HubSettings, HubToken, Proxies};
use albert_tasks::{Embedder, Error, Hub, HubError, ModelFiles, RunOptions};
use serde_json::json;

use crate::hub_server::{Fault, Files, HubServer, Request, TOKEN, etag, proxy, tiny_files};
use crate::support::tiny;

const ID: &str = "owner/tiny";

/// A server, a cache, and what was said.
struct Setting {
    server: HubServer,
    cache: tempfile::TempDir,
    settings: HubSettings,
    said: Arc<Mutex<Vec<String>>>,
}

impl Setting {
    /// With the tiny model at [`ID`].
    fn new() -> Self {
        let setting = Self::empty();
        setting.server.commit(ID, tiny_files());
        setting
    }

    fn empty() -> Self {
        let (server, cache) = (HubServer::start(), tempfile::tempdir().unwrap());
        let mut settings = HubSettings::from_env().unwrap();
        settings.endpoint = server.endpoint();
        settings.cache = cache.path().join("hub");
        settings.token = None;
        settings.token_file = None;
        settings.offline = false;
        settings.proxies = Proxies::default();
        settings.certificates = None;
        settings.timeout = Duration::from_secs(5);
        settings.pause = Duration::from_millis(1);
        Self {
            server,
            cache,
            settings,
            said: Arc::default(),
        }
    }

    fn hub(&self) -> Hub {
        let said = Arc::clone(&self.said);
        Hub::new(self.settings.clone()).with_observer(move |event| {
            let line = match event {
                HubEvent::Progress { .. } => return,
                HubEvent::Retry { what, error, .. } => format!("retry {what}: {error}"),
                HubEvent::Unchecked { files, error } => {
                    format!("unchecked {files:?} {}", error.is_some())
                }
                other => format!("{other:?}"),
            };
            said.lock().unwrap().push(line);
        })
    }

    fn find(&self) -> Result<PathBuf, HubError> {
        self.hub().find(ID)
    }

    fn error(&self, id: &str) -> (String, String) {
        let error = self.hub().find(id).unwrap_err();
        (
            format!("{:#}", anyhow::Error::from(Error::from(error))),
            self.hint(id),
        )
    }

    fn hint(&self, id: &str) -> String {
        self.hub().find(id).unwrap_err().hint().unwrap_or_default()
    }

    fn said(&self) -> Vec<String> {
        std::mem::take(&mut self.said.lock().unwrap())
    }

    /// A path in the tiny model's part of the cache.
    fn path(&self, path: &str) -> PathBuf {
        self.settings.cache.join("models--owner--tiny").join(path)
    }

    /// Writes `content` as the weights' partial download, and returns its path.
    fn partial(&self, content: &[u8]) -> PathBuf {
        let path = self.path(&format!("blobs/{}.incomplete", weights_etag()));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// The ranges of the requests for weights.
    fn ranges(&self) -> Vec<Option<String>> {
        let log = self.server.take_log();
        let weights = log.iter().filter(|it| it.at_storage && it.method == "GET");
        weights
            .map(|request| request.header("range").map(String::from))
            .collect()
    }

    /// Finds the model, asserts that its weights are right, and returns the requested ranges.
    fn arrives(&self) -> Vec<Option<String>> {
        let folder = self.find().unwrap();
        assert_eq!(
            fs::read(folder.join("model.safetensors")).unwrap(),
            weights()
        );
        self.ranges()
    }
}

fn weights() -> Vec<u8> {
    tiny_files().remove("model.safetensors").unwrap()
}

fn weights_etag() -> String {
    etag("model.safetensors", &weights())
}

fn with(mut files: Files, more: &[(&str, &[u8])]) -> Files {
    files.extend(
        more.iter()
            .map(|(name, content)| (name.to_string(), content.to_vec())),
    );
    files
}

fn without(mut files: Files, name: &str) -> Files {
    files.remove(name).unwrap();
    files
}

/// The requested files, each once.
fn fetched(log: &[Request]) -> Vec<String> {
    let files = log
        .iter()
        .filter_map(|request| request.path.split_once("/resolve/")?.1.split_once('/'));
    let mut files: Vec<_> = files.map(|(_, file)| file.to_string()).collect();
    files.sort();
    files.dedup();
    files
}

#[test]
fn only_what_is_needed_is_fetched_and_the_cache_is_laid_out_as_pythons() {
    let setting = Setting::empty();
    let others: [(&str, &[u8]); 7] = [
        ("pytorch_model.bin", b"x"),
        ("tf_model.h5", b"x"),
        ("onnx/model.onnx", b"x"),
        ("openvino/openvino_model.bin", b"x"),
        ("rust_model.ot", b"x"),
        ("1_Pooling/pytorch_model.bin", b"x"),
        ("README.md", b"x"),
    ];
    let commit = setting.server.commit(ID, with(tiny_files(), &others));
    let folder = setting.find().unwrap();
    let mut expected: Vec<_> = tiny_files().into_keys().collect();
    expected.push("1_Pooling/pytorch_model.bin".to_string());
    expected.sort();
    assert_eq!(fetched(&setting.server.take_log()), expected);

    assert_eq!(folder, setting.path(&format!("snapshots/{commit}")));
    assert_eq!(
        fs::read_to_string(setting.path("refs/main")).unwrap(),
        commit
    );
    for (name, content) in tiny_files() {
        let blob = setting.path(&format!("blobs/{}", etag(&name, &content)));
        assert_eq!(fs::read(blob).unwrap(), content, "{name}");
        assert_eq!(fs::read(folder.join(&name)).unwrap(), content, "{name}");
        #[cfg(unix)]
        assert!(
            fs::read_link(folder.join(&name))
                .unwrap()
                .starts_with("../../"),
            "{name}"
        );
    }
    for absent in ["spiece.model", "vocab.txt", "1_Pooling/model.safetensors"] {
        assert!(
            setting
                .path(&format!(".no_exist/{commit}/{absent}"))
                .is_file(),
            "{absent}"
        );
    }
    assert!(
        !setting
            .path(&format!(".no_exist/{commit}/README.md"))
            .exists()
    );
}

#[test]
fn a_model_of_the_hub_is_the_same_model() {
    let setting = Setting::new();
    let files = ModelFiles::from_hub(ID, &setting.hub()).unwrap();
    assert_eq!(files.name(), ID);
    let embed = |files: &ModelFiles| {
        Embedder::load(files, &RunOptions::default())
            .unwrap()
            .embed(&["the river"])
            .unwrap()
    };
    assert_eq!(embed(&files), embed(&tiny()));
}

/// sentence-transformers before 2.0 gave the network a folder of its own; its top `config.json` holds a
/// version alone.
#[test]
fn a_network_in_a_folder_of_its_own_is_fetched_and_found_again() {
    let setting = Setting::empty();
    let mut files = Files::new();
    for (name, content) in tiny_files() {
        let is_top = matches!(name.as_str(), "modules.json" | "1_Pooling/config.json");
        let folder = if is_top { "" } else { "0_Transformer/" };
        files.insert(format!("{folder}{name}"), content);
    }
    let modules = String::from_utf8(files["modules.json"].clone()).unwrap();
    let mut modules: serde_json::Value = serde_json::from_str(&modules).unwrap();
    modules[0]["path"] = json!("0_Transformer");
    files.insert("modules.json".into(), modules.to_string().into_bytes());
    files.insert(
        "config.json".into(),
        b"{\"__version__\": \"1.2.0\"}".to_vec(),
    );
    setting.server.commit(ID, files);
    let embed = |files: &ModelFiles| {
        let embedder = Embedder::load(files, &RunOptions::default()).unwrap();
        embedder.embed(&["the river"]).unwrap()
    };
    let hub = setting.hub();
    assert_eq!(
        embed(&ModelFiles::from_hub(ID, &hub).unwrap()),
        embed(&tiny())
    );
    setting.server.take_log();
    hub.find(ID).unwrap();
    assert_eq!(setting.server.take_log().len(), 0, "the cache has it all");
    assert!(setting.hub().offline().find(ID).is_ok());
}

#[test]
fn a_model_in_the_cache_needs_no_request() {
    let mut setting = Setting::new();
    let folder = setting.find().unwrap();
    setting.server.take_log();
    assert_eq!(setting.find().unwrap(), folder);
    setting.settings.offline = true;
    assert_eq!(setting.find().unwrap(), folder);
    assert_eq!(setting.hub().download(ID).unwrap(), folder);
    assert!(setting.server.take_log().is_empty());
    assert!(setting.said().is_empty());
}

#[test]
fn download_follows_the_branch_and_a_commit_stays_where_it_is() {
    let setting = Setting::new();
    let old = setting.find().unwrap();
    let changed = with(tiny_files(), &[("tokenizer_config.json", b"{}")]);
    let commit = setting.server.commit(ID, changed);
    setting.server.take_log();
    assert_eq!(setting.find().unwrap(), old);
    let new = setting.hub().download(ID).unwrap();
    assert!(new.ends_with(&commit));
    assert_eq!(fs::read(new.join("tokenizer_config.json")).unwrap(), b"{}");
    let gets = setting
        .server
        .take_log()
        .into_iter()
        .filter(|it| it.method == "GET" && it.path.contains("/resolve/"));
    let gets: Vec<_> = gets.map(|request| request.path).collect();
    assert!(
        gets.len() == 1 && gets[0].ends_with("tokenizer_config.json"),
        "{gets:?}"
    );
    assert_eq!(setting.find().unwrap(), new);

    let first = old.file_name().unwrap().to_str().unwrap();
    let pinned = setting.hub().with_revision(first).unwrap();
    assert_eq!(pinned.find(ID).unwrap(), old);
    assert_eq!(
        fs::read_to_string(setting.path("refs/main")).unwrap(),
        commit
    );
    assert!(!setting.path(&format!("refs/{first}")).exists());
}

#[test]
fn weights_in_parts_in_pytorchs_form_and_in_tensorflows_are_found() {
    let plain = || without(without(tiny_files(), "model.safetensors"), "modules.json");
    let index = json!({"weight_map": {"a": "m-1.safetensors", "b": "m-2.safetensors"}}).to_string();
    let index: &[(&str, &[u8])] = &[
        ("model.safetensors.index.json", index.as_bytes()),
        ("m-1.safetensors", b"1"),
        ("m-2.safetensors", b"2"),
        ("m-3.safetensors", b"3"),
        ("pytorch_model.bin", b"4"),
    ];
    let tensorflow: &[(&str, &[u8])] = &[
        ("model.ckpt-best.index", b"1"),
        ("model.ckpt-best.data-00000-of-00001", b"2"),
        ("model.ckpt-best.meta", b"3"),
    ];
    for (files, wanted, unwanted) in [
        (
            index,
            &["m-1.safetensors", "m-2.safetensors"][..],
            "m-3.safetensors",
        ),
        (
            &[("pytorch_model.bin", b"1"), ("optimizer.pt", b"2")],
            &["pytorch_model.bin"],
            "optimizer.pt",
        ),
        (
            tensorflow,
            &[
                "model.ckpt-best.index",
                "model.ckpt-best.data-00000-of-00001",
            ],
            "model.ckpt-best.meta",
        ),
    ] {
        let mut setting = Setting::empty();
        setting.server.commit(ID, with(plain(), files));
        let folder = setting.find().unwrap();
        for file in wanted {
            assert!(folder.join(file).is_file(), "{file}");
        }
        assert!(!folder.join(unwanted).exists(), "{unwanted}");
        setting.settings.offline = true;
        assert_eq!(setting.find().unwrap(), folder);
        fs::remove_file(folder.join(wanted[wanted.len() - 1])).unwrap();
        assert!(matches!(setting.find(), Err(HubError::Offline { .. })));
    }
}

#[test]
fn an_old_name_is_followed_and_kept() {
    let mut setting = Setting::new();
    setting.server.rename("tiny", ID);
    let folder = setting.hub().find("tiny").unwrap();
    assert!(folder.starts_with(setting.settings.cache.join("models--tiny")));
    setting.settings.offline = true;
    assert_eq!(setting.hub().find("tiny").unwrap(), folder);
}

#[test]
fn the_token_goes_to_the_endpoint_and_to_nobody_else() {
    let mut setting = Setting::new();
    setting.settings.token = HubToken::new(TOKEN);
    setting.find().unwrap();
    let log = setting.server.take_log();
    assert!(log.iter().any(|request| request.at_storage));
    for request in log {
        let expected = (!request.at_storage).then(|| format!("Bearer {TOKEN}"));
        assert_eq!(
            request.header("authorization"),
            expected.as_deref(),
            "{}",
            request.path
        );
    }
}

#[test]
fn refusals_are_told_apart_each_with_a_hint() {
    let mut setting = Setting::new();
    let endpoint = setting.settings.endpoint.clone();
    let (error, hint) = setting.error("no/such");
    assert_eq!(
        error,
        format!("no folder `no/such`, and no such model at `{endpoint}`, unless it is private")
    );
    assert!(hint.contains("HF_TOKEN"), "{hint}");
    let revision = setting
        .hub()
        .with_revision("v9")
        .unwrap()
        .find(ID)
        .unwrap_err();
    assert_eq!(revision.to_string(), "no revision `v9` of `owner/tiny`");
    assert!(revision.hint().unwrap().contains("omit the revision"));
    setting.server.commit("owner/gated", tiny_files());
    setting.server.gate("owner/gated");
    let (error, hint) = setting.error("owner/gated");
    assert_eq!(
        error,
        "`owner/gated` is gated: its authors have to grant access first"
    );
    assert!(
        hint.contains(&format!("{endpoint}/owner/gated")) && hint.contains("HF_TOKEN"),
        "{hint}"
    );
    setting.settings.token = HubToken::new("hf_wrong");
    let (error, hint) = setting.error(ID);
    assert_eq!(error, format!("`{endpoint}` does not accept the token"));
    assert!(hint.contains("settings/tokens"), "{hint}");
    setting.settings.token = HubToken::new(TOKEN);
    assert!(!setting.hint("no/such").contains("HF_TOKEN"));
    assert!(!setting.hint("owner/gated").contains("HF_TOKEN"));
    let log = setting.server.take_log();
    assert!(log.iter().all(|request| !request.at_storage));
}

#[test]
fn what_is_no_albert_is_refused_before_its_weights_come() {
    let setting = Setting::empty();
    let refused = |id: &str, files: Files| {
        setting.server.commit(id, files);
        let error = setting.error(id);
        assert!(
            setting
                .server
                .take_log()
                .iter()
                .all(|request| !request.at_storage),
            "{id}"
        );
        error
    };
    let (error, hint) = refused(
        "a/roberta",
        with(
            tiny_files(),
            &[("config.json", br#"{"model_type": "roberta"}"#)],
        ),
    );
    assert_eq!(
        error,
        "`a/roberta` is neither an ALBERT nor a BERT: expected the model type albert or bert in \
         `config.json`, found roberta"
    );
    assert!(hint.contains("models/README.md"), "{hint}");
    let others = with(
        without(tiny_files(), "model.safetensors"),
        &[("tf_model.h5", b"x"), ("onnx/model.onnx", b"x")],
    );
    let (error, hint) = refused("a/tensorflow", others);
    assert!(
        error.ends_with("found `onnx/model.onnx`, `tf_model.h5`"),
        "{error}"
    );
    assert!(!hint.is_empty());
    let (error, _) = refused("a/data", without(tiny_files(), "config.json"));
    assert_eq!(error, "no `config.json` in `a/data`: expected a model");
}

#[test]
fn a_name_that_leaves_the_folder_is_refused() {
    let index = json!({"weight_map": {"a": "../../../../evil.safetensors"}}).to_string();
    let setting = Setting::empty();
    let files = without(tiny_files(), "model.safetensors");
    setting.server.commit(
        ID,
        with(files, &[("model.safetensors.index.json", index.as_bytes())]),
    );
    let (error, _) = setting.error(ID);
    assert_eq!(
        error,
        "file `../../../../evil.safetensors` of `owner/tiny` leaves the model's folder"
    );
    let etag = vec![("ETag", "\"../../evil\"".to_string())];
    setting
        .server
        .fault("HEAD", "config.json", 1, Fault::Answer(200, etag));
    let setting = Setting::new();
    let etag = vec![("ETag", "\"../../evil\"".to_string())];
    setting
        .server
        .fault("HEAD", "modules.json", 9, Fault::Answer(200, etag));
    assert!(setting.error(ID).0.contains("no usable ETag"));
    let entries: Vec<_> = fs::read_dir(setting.cache.path()).unwrap().collect();
    assert!(entries.is_empty(), "{entries:?}");
}

#[test]
fn a_download_that_broke_off_goes_on_where_it_was() {
    let setting = Setting::new();
    setting.partial(&weights()[..1000]);
    assert_eq!(setting.arrives(), [Some("bytes=1000-".to_string())]);

    let setting = Setting::new();
    setting.partial(&weights());
    assert_eq!(setting.arrives(), []);
}

#[test]
fn what_an_earlier_run_left_damaged_is_fetched_anew() {
    let whole = [Some("bytes=1000-".to_string()), None];
    let damaged = Setting::new();
    damaged.partial(&[7; 1000]);
    assert_eq!(damaged.arrives(), whole);

    let too_long = Setting::new();
    too_long.partial(&vec![7; weights().len() + 1]);
    assert_eq!(too_long.arrives(), [None]);

    let no_range = Setting::new();
    no_range.partial(&weights()[..1000]);
    no_range
        .server
        .fault("GET", "safetensors?", 1, Fault::NoRange);
    assert_eq!(no_range.arrives(), whole[..1]);

    let refused = Setting::new();
    refused.partial(&weights()[..1000]);
    refused
        .server
        .fault("GET", "safetensors?", 1, Fault::Answer(416, Vec::new()));
    assert_eq!(refused.arrives(), whole);

    // As a proxy does that keeps parts of files.
    let unnamed = Setting::new();
    unnamed.partial(&weights()[..1000]);
    unnamed
        .server
        .fault("GET", "safetensors?", 1, Fault::NoContentRange);
    assert_eq!(unnamed.arrives(), whole);
}

#[test]
fn a_storage_with_fewer_bytes_than_announced_is_given_up() {
    let setting = Setting::new();
    setting
        .server
        .fault("GET", "safetensors?", 99, Fault::Short(5000));
    let (error, _) = setting.error(ID);
    let size = weights().len();
    assert!(
        error.contains(&format!("received 5000 of {size} bytes")),
        "{error}"
    );
    // Twice, as `error` asks twice.
    assert!(setting.ranges().len() <= 14);
}

#[cfg(unix)]
#[test]
fn a_cache_that_cannot_be_written_serves_what_it_has() {
    use std::os::unix::fs::PermissionsExt as _;
    let setting = Setting::new();
    let folder = setting.find().unwrap();
    let commit = folder.file_name().unwrap().to_str().unwrap().to_string();
    // As Python leaves it, and read-only: a file in the way replaces missing permissions, which do
    // not stop the superuser.
    for notes in [".no_exist", "refs"] {
        fs::remove_dir_all(setting.path(notes)).unwrap();
        fs::write(setting.path(notes), "").unwrap();
    }
    let model = setting.path("");
    fs::set_permissions(&model, fs::Permissions::from_mode(0o555)).unwrap();
    assert_eq!(setting.find().unwrap(), folder);
    assert_eq!(setting.hub().download(ID).unwrap(), folder);
    let by_commit = setting.hub().with_revision(&commit).unwrap();
    assert_eq!(by_commit.find(ID).unwrap(), folder);
    fs::set_permissions(&model, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn without_the_branch_the_only_commit_in_the_cache_is_taken() {
    let mut setting = Setting::new();
    let folder = setting.find().unwrap();
    fs::remove_dir_all(setting.path("refs")).unwrap();
    setting.settings.offline = true;
    assert_eq!(setting.find().unwrap(), folder);
    // Another branch is not meant by it.
    let other = setting.hub().with_revision("v1").unwrap();
    assert!(other.find(ID).is_err());
    // Of several, one has to be named.
    let second = folder.with_file_name("f".repeat(40));
    fs::create_dir(&second).unwrap();
    let (error, _) = setting.error(ID);
    assert!(
        error.contains("no revision `main` in the cache, found the commits `"),
        "{error}"
    );
    // A Hub that can be reached is asked first.
    fs::remove_dir_all(&second).unwrap();
    setting.settings.offline = false;
    let newer = setting
        .server
        .commit(ID, with(tiny_files(), &[("README.md", b"x")]));
    assert!(setting.find().unwrap().ends_with(newer));
}

#[test]
fn a_line_that_breaks_often_but_gets_on_is_good_enough() {
    let setting = Setting::new();
    setting
        .server
        .fault("GET", "safetensors?", 12, Fault::Cut(3000));
    let ranges = setting.arrives();
    assert_eq!(ranges.len(), 13);
    assert_eq!(ranges[12], Some("bytes=36000-".to_string()));
}

#[test]
fn a_cancelled_download_resumes_later() {
    let setting = Setting::new();
    setting
        .server
        .fault("GET", "safetensors?", 1, Fault::Stall(5000));
    let has_begun = Arc::new(AtomicBool::new(false));
    let begun = Arc::clone(&has_begun);
    let hub = setting
        .hub()
        .with_observer(move |event| {
            if let HubEvent::Progress { file, done, .. } = event
                && file.ends_with(".safetensors")
                && *done > 0
            {
                begun.store(true, Ordering::Relaxed);
            }
        })
        .with_cancellation(move || has_begun.load(Ordering::Relaxed));
    assert!(matches!(hub.find(ID), Err(HubError::Cancelled)));
    assert_eq!(setting.arrives(), [None, Some("bytes=5000-".to_string())]);
}

#[test]
fn a_line_that_goes_silent_counts_as_cut() {
    let mut setting = Setting::new();
    setting.settings.timeout = Duration::from_millis(150);
    setting
        .server
        .fault("GET", "safetensors?", 1, Fault::Stall(5000));
    assert_eq!(setting.arrives(), [None, Some("bytes=5000-".to_string())]);
    let said = setting.said();
    assert!(
        said.len() == 1 && said[0].starts_with("retry model.safetensors"),
        "{said:?}"
    );
}

#[test]
fn passing_errors_are_waited_out_and_lasting_ones_given_up() {
    let setting = Setting::new();
    let later = || vec![("Retry-After", "0".to_string())];
    setting
        .server
        .fault("GET", "/api/", 1, Fault::Answer(500, Vec::new()));
    setting.server.fault("GET", "/api/", 1, Fault::Cut(0));
    setting
        .server
        .fault("HEAD", "config.json", 1, Fault::Answer(429, later()));
    setting
        .server
        .fault("GET", "safetensors?", 2, Fault::Answer(503, later()));
    // The signature of the address has run out: the endpoint gives a new one.
    setting
        .server
        .fault("GET", "safetensors?", 1, Fault::Answer(403, Vec::new()));
    setting.find().unwrap();
    assert_eq!(setting.said().len(), 6);

    let setting = Setting::new();
    setting
        .server
        .fault("GET", "/api/", 99, Fault::Answer(503, Vec::new()));
    let error = setting.find().unwrap_err();
    assert!(
        error.to_string().ends_with("answers 503") && error.hint().is_some(),
        "{error}"
    );
    assert_eq!(setting.server.take_log().len(), 6);

    let setting = Setting::new();
    let much_later = vec![("Retry-After", "3600".to_string())];
    setting
        .server
        .fault("GET", "/api/", 99, Fault::Answer(429, much_later));
    let error = setting.find().unwrap_err();
    assert!(error.hint().unwrap().contains("wait"), "{error}");
    assert_eq!(setting.server.take_log().len(), 1);

    let setting = Setting::new();
    setting
        .server
        .fault("GET", "safetensors?", 99, Fault::Cut(0));
    let error = setting.find().unwrap_err();
    assert!(
        matches!(error, HubError::Cut { attempts: 6, .. }),
        "{error}"
    );
    assert!(
        error
            .hint()
            .unwrap()
            .contains("the download resumes where it stopped")
    );
}

#[test]
fn bytes_that_are_not_the_announced_ones_get_no_name() {
    for (file, method_part) in [
        ("model.safetensors", "safetensors?"),
        ("tokenizer.json", "/tokenizer.json"),
    ] {
        let setting = Setting::new();
        setting.server.fault("GET", method_part, 99, Fault::Damage);
        let error = setting.find().unwrap_err();
        assert!(
            matches!(&error, HubError::Damaged { file: named, .. } if named == file),
            "{error}"
        );
        assert!(error.hint().unwrap().contains("removed"));
        let etag = etag(file, &tiny_files()[file]);
        assert!(!setting.path(&format!("blobs/{etag}")).exists());
        assert!(!setting.path(&format!("blobs/{etag}.incomplete")).exists());
        assert!(!setting.path("refs/main").exists());
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_said_so() {
    let setting = Setting::new();
    let partial = setting.partial(b"");
    fs::remove_file(&partial).unwrap();
    std::os::unix::fs::symlink("/dev/full", &partial).unwrap();
    let error = setting.find().unwrap_err();
    let left = weights().len() as u64;
    assert!(
        matches!(error, HubError::NoSpace { left: found, .. } if found == left),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("HF_HOME"));
    // The partial file stays, so that the download can resume.
    assert!(fs::symlink_metadata(&partial).is_ok());
}

#[test]
fn without_the_network_what_is_there_is_used_and_what_is_not_is_said() {
    let mut setting = Setting::new();
    // A port that nobody listens on.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let away = setting.settings.clone();
    setting.settings.endpoint = format!("http://{nobody}");
    let error = setting.find().unwrap_err();
    assert_eq!(error.to_string(), format!("cannot reach `{nobody}`"));
    assert!(error.hint().unwrap().contains("HTTPS_PROXY"));

    setting.settings.offline = true;
    let (error, hint) = setting.error(ID);
    assert_eq!(
        error,
        "`owner/tiny` is not in the cache, and the network is off: no revision `main` in the cache"
    );
    assert!(hint.contains("download"), "{hint}");

    // As Python leaves it: enough to run, but nobody knows what else the Hub has.
    let online = Setting {
        settings: away,
        ..setting
    };
    let folder = online.find().unwrap();
    let commit = folder.file_name().unwrap().to_str().unwrap();
    fs::remove_dir_all(online.path(&format!(".no_exist/{commit}"))).unwrap();
    let mut offline = online;
    offline.settings.offline = true;
    assert_eq!(offline.find().unwrap(), folder);
    let said = offline.said();
    assert!(
        said.len() == 1 && said[0].contains("spiece.model") && said[0].ends_with("false"),
        "{said:?}"
    );
    offline.settings.offline = false;
    offline.settings.endpoint = format!("http://{nobody}");
    assert_eq!(offline.find().unwrap(), folder);
    assert!(offline.said()[0].ends_with("true"));
    offline.settings.endpoint = offline.server.endpoint();
    offline
        .server
        .fault("GET", "/api/", 99, Fault::Answer(503, Vec::new()));
    assert_eq!(offline.find().unwrap(), folder);
    assert!(offline.said().last().unwrap().ends_with("true"));
}

#[test]
fn answers_that_make_no_sense_are_errors() {
    let setting = Setting::new();
    for (file, content) in [("a/html", "<html>"), ("a/other", "{}")] {
        setting.server.commit(file, tiny_files());
        let answer = vec![("X-Nothing", content.to_string())];
        setting
            .server
            .fault("GET", "/api/models/a/", 1, Fault::Answer(200, answer));
        assert!(
            matches!(setting.hub().find(file), Err(HubError::Answer { .. })),
            "{file}"
        );
    }
    let around = vec![(
        "Location",
        "/api/models/owner/tiny/revision/main".to_string(),
    )];
    setting
        .server
        .fault("GET", "/api/models/owner/", 99, Fault::Answer(302, around));
    let error = setting.find().unwrap_err();
    assert!(
        error.to_string().contains("more than 10 redirects"),
        "{error}"
    );
}

#[test]
fn a_proxy_is_used_unless_the_host_is_excepted() {
    let mut setting = Setting::new();
    let (address, asked) = proxy();
    setting.settings.proxies.http = Some(address.replace("//", "//name:secret@"));
    setting.find().unwrap();
    let hosts = asked.lock().unwrap().clone();
    assert!(
        hosts.len() >= 2
            && hosts
                .iter()
                .all(|host| host.starts_with("127.0.0.1:")
                    && host.ends_with(" Basic bmFtZTpzZWNyZXQ=")),
        "{hosts:?}"
    );
    setting.settings.proxies.exceptions = vec!["127.0.0.1".to_string()];
    setting.server.commit(ID, tiny_files());
    setting.hub().download(ID).unwrap();
    assert_eq!(asked.lock().unwrap().len(), hosts.len());
    setting.settings.proxies.http = Some("socks5://127.0.0.1:1".to_string());
    assert!(matches!(
        setting.hub().download(ID),
        Err(HubError::Proxy(_))
    ));
}

#[test]
fn the_cache_tells_sizes_and_what_can_go() {
    let setting = Setting::new();
    assert!(setting.hub().cached().unwrap().is_empty());
    let old = setting.find().unwrap();
    setting
        .server
        .commit(ID, with(tiny_files(), &[("tokenizer_config.json", b"{} ")]));
    let new = setting.hub().download(ID).unwrap();
    let partial = setting.path("blobs/abc.incomplete");
    fs::write(&partial, "1234").unwrap();
    fs::write(setting.path("blobs/lost"), "12345").unwrap();
    // Another kind of model in the same cache.
    let roberta = setting
        .settings
        .cache
        .join("models--a--roberta/snapshots")
        .join("0".repeat(40));
    fs::create_dir_all(&roberta).unwrap();
    fs::write(roberta.join("config.json"), r#"{"model_type": "roberta"}"#).unwrap();

    let models = setting.hub().cached().unwrap();
    let [model] = models.as_slice() else {
        panic!("{models:?}")
    };
    assert_eq!(model.id, ID);
    let size = |files: &Files| {
        files
            .values()
            .map(|content| content.len() as u64)
            .sum::<u64>()
    };
    let tokenizer_config = tiny_files()["tokenizer_config.json"].len() as u64;
    assert_eq!(model.bytes, size(&tiny_files()) + 3 + 4 + 5);
    assert_eq!(model.revisions.len(), 2);
    for revision in &model.revisions {
        let is_new = Path::new(&new).ends_with(&revision.commit);
        assert_eq!(revision.refs, if is_new { vec!["main"] } else { vec![] });
        assert_eq!(
            revision.bytes,
            size(&tiny_files()) + if is_new { 3 } else { tokenizer_config } - tokenizer_config
        );
        assert!(revision.complete);
    }
    let removable: Vec<_> = model
        .removable
        .iter()
        .map(|it| (it.path.clone(), it.bytes))
        .collect();
    let canonical = |path: PathBuf| fs::canonicalize(path).unwrap();
    let expected = [
        (old, tokenizer_config),
        (canonical(partial), 4),
        (canonical(setting.path("blobs/lost")), 5),
    ];
    assert_eq!(removable, expected);
}
