use super::*;
use crate::adapter::test_server::TestServer;
use crate::config::{Secret, Sources, Speech};
use holdline_core::media::wav::WavHeader;
use std::fs;
use std::path::Path;

/// Everybody's folder.
struct One(PathBuf);

impl Folders for One {
    fn folder(&self, _: &WorkflowId) -> PathBuf {
        self.0.clone()
    }
}

fn config() -> Config {
    let environment = [("HOLDLINE__HTTP__ALLOW_HOSTS".to_owned(), "[\"127.0.0.1\"]".to_owned())].into();
    Config::load(&Sources { environment, ..Sources::default() }).unwrap()
}

fn studio(folder: &Path, config: &Config) -> AudioPort {
    let http = Arc::new(HttpPort::new(&config.http));
    AudioPort::new(config, Arc::new(One(folder.to_owned())), http)
}

async fn load(port: &AudioPort, what: Sound) -> Loaded {
    port.load(&WorkflowId("hello".to_owned()), &what).await
}

async fn file(port: &AudioPort, name: &str) -> Loaded {
    load(port, Sound::File(name.to_owned())).await
}

async fn say(port: &AudioPort, text: &str) -> Loaded {
    let speech =
        Sound::Speech { text: text.to_owned(), ssml: text.starts_with('<'), language: None, voice: None };
    load(port, speech).await
}

/// A WAV file of some silent samples; each becomes one byte.
fn wav(samples: usize) -> Vec<u8> {
    [WavHeader::new(1, 2 * samples as u64).bytes().to_vec(), vec![0; 2 * samples]].concat()
}

fn silence(samples: usize) -> Arc<[u8]> {
    vec![0xFF; samples].into()
}

#[actix_rt::test]
async fn files_are_played_from_the_workflows_folder_and_from_nowhere_else() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("flows");
    fs::create_dir_all(folder.join("prompts")).unwrap();
    fs::write(root.path().join("outside.wav"), wav(4)).unwrap();
    fs::write(folder.join("prompts/welcome.wav"), wav(4)).unwrap();
    fs::write(folder.join("raw.ulaw"), [1, 2, 3]).unwrap();
    fs::write(folder.join("song.mp3"), "ID3").unwrap();
    let port = studio(&folder, &config());
    assert_eq!(file(&port, "prompts/welcome.wav").await, Ok(silence(4)));
    assert_eq!(file(&port, "./raw.ulaw").await, Ok(vec![1, 2, 3].into()));

    let outside = root.path().join("outside.wav").display().to_string();
    for name in [outside.as_str(), "../outside.wav", "prompts/../../outside.wav", "", "a\0.wav"] {
        let (class, said) = file(&port, name).await.unwrap_err();
        assert!(class == ErrorClass::Invalid && said.contains("workflow's own folder"), "{said}");
    }
    let (class, said) = file(&port, "prompts/welcom.wav").await.unwrap_err();
    assert_eq!(class, ErrorClass::Invalid);
    assert!(said.ends_with("in the workflow's folder; did you mean \"welcome.wav\"?"), "{said}");
    let (_, said) = file(&port, "prompts").await.unwrap_err();
    assert!(said.contains("is none"), "{said}");
    let (_, said) = file(&port, "song.mp3").await.unwrap_err();
    assert!(said.contains("must be a WAV file"), "{said}");

    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(root.path(), folder.join("up")).unwrap();
        let (class, said) = file(&port, "up/outside.wav").await.unwrap_err();
        assert!(class == ErrorClass::Invalid && said.contains("leads out"), "{said}");
        std::os::unix::fs::symlink(folder.join("prompts"), folder.join("same")).unwrap();
        assert_eq!(file(&port, "same/welcome.wav").await, Ok(silence(4)), "a link within is fine");
    }
}

#[actix_rt::test]
async fn a_sound_is_kept_until_its_file_changes_and_a_long_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config();
    config.media.file_bytes_max = 1000;
    let port = studio(folder.path(), &config);
    fs::write(folder.path().join("a.wav"), wav(4)).unwrap();
    let first = file(&port, "a.wav").await.unwrap();
    assert!(Arc::ptr_eq(&first, &file(&port, "a.wav").await.unwrap()), "nothing is decoded twice");
    fs::write(folder.path().join("a.wav"), wav(5)).unwrap();
    assert_eq!(file(&port, "a.wav").await, Ok(silence(5)));
    fs::write(folder.path().join("a.wav"), wav(500)).unwrap();
    let (class, said) = file(&port, "a.wav").await.unwrap_err();
    assert!(class == ErrorClass::Invalid && said.contains("file_bytes_max = 1000"), "{said}");
}

#[actix_rt::test]
async fn a_sound_is_fetched_by_its_address() {
    let server = TestServer::start(|request| match request.split(' ').nth(1) {
        Some("/a.wav") => TestServer::answer(200, &[], &wav(4)),
        Some("/raw") => TestServer::answer(200, &[("content-type", "audio/basic")], &[1, 2]),
        Some("/page") => TestServer::answer(200, &[("content-type", "text/html")], b"<html>"),
        Some("/empty") => TestServer::answer(204, &[], b""),
        _ => TestServer::answer(404, &[], b""),
    });
    let folder = tempfile::tempdir().unwrap();
    let port = studio(folder.path(), &config());
    let fetch = |url: String| load(&port, Sound::Url(url));
    assert_eq!(fetch(server.url("/a.wav")).await, Ok(silence(4)));
    assert_eq!(fetch(server.url("/raw")).await, Ok(vec![1, 2].into()));
    let class = |loaded: Loaded| loaded.unwrap_err().0;
    assert_eq!(class(fetch(server.url("/page")).await), ErrorClass::Invalid);
    assert_eq!(class(fetch(server.url("/empty")).await), ErrorClass::Rejected);
    assert_eq!(class(fetch(server.url("/none")).await), ErrorClass::Rejected);
    assert_eq!(class(fetch("http://169.254.169.254/latest".to_owned()).await), ErrorClass::Rejected);
}

#[actix_rt::test]
async fn tones_are_there_at_once_and_the_networks_voice_is_not_ours() {
    let port = studio(Path::new("/nowhere"), &config());
    let beep = port.load(&WorkflowId("hello".into()), &Sound::Beep { hz: 1000, ms: 100 });
    assert_eq!(beep.now_or_never().unwrap().unwrap().len(), 800);
    let digits = Sound::Tones { digits: "1w2".into(), duration_ms: 100, interval_ms: 0 };
    let digits = port.load(&WorkflowId("hello".into()), &digits).now_or_never().unwrap();
    assert_eq!(digits.unwrap().len(), 800 + 4000 + 800);
    assert_eq!(load(&port, Sound::Beep { hz: 1, ms: 1 }).await.unwrap_err().0, ErrorClass::Invalid);
    assert_eq!(say(&port, "hello").await.unwrap_err().0, ErrorClass::Unavailable);
}

#[cfg(unix)]
#[actix_rt::test]
async fn a_program_speaks_a_text_as_one_argument_and_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("a.wav"), wav(4)).unwrap();
    let script = format!("printf '%s|' \"$@\" >> {}; cat {}", path("said"), path("a.wav"));
    fs::write(path("speak.sh"), script).unwrap();
    let mut config = config();
    let command = ["sh", &path("speak.sh"), "--", "{text}", "t={text}"];
    config.speech = Speech::Command(command.map(str::to_owned).into());
    let port = studio(folder.path(), &config);
    for text in ["it's $(here); \"x\"", "it's $(here); \"x\"", "-w /etc/x"] {
        assert_eq!(say(&port, text).await, Ok(silence(4)));
    }
    assert_eq!(say(&port, "<speak>a <emphasis>b</emphasis> &amp;<break/>c</speak>").await, Ok(silence(4)));
    let said = fs::read_to_string(path("said")).unwrap();
    let expected =
        "--|it's $(here); \"x\"|t=it's $(here); \"x\"|--| -w /etc/x|t=-w /etc/x|--|a b & c|t=a b & c|";
    assert_eq!(said, expected);
}

#[cfg(unix)]
#[actix_rt::test]
async fn a_program_that_fails_or_never_ends_is_given_up() {
    let speaking = |script: &str, timeout: Duration| {
        let mut config = config();
        config.media.file_bytes_max = 100_000;
        config.speech = Speech::Command(["sh", "-c", script].map(str::to_owned).into());
        let mut port = studio(Path::new("/nowhere"), &config);
        Arc::get_mut(&mut port.0).unwrap().voice.timeout = timeout;
        async move { say(&port, "hello").await.unwrap_err() }
    };
    let long = Duration::from_secs(30);
    let (class, said) = speaking("echo no voice >&2; exit 3", long).await;
    assert!(class == ErrorClass::Unavailable && said.ends_with("exit status: 3: no voice"), "{said}");
    let (_, said) = speaking("cat /dev/zero", long).await;
    assert!(said.contains("more than 100000 bytes"), "{said}");
    let (_, said) = speaking("head -c 90000 /dev/zero >&2; exit 1", long).await;
    assert!(said.contains("exit status: 1"), "a long complaint stops nobody: {said}");
    let (class, said) = speaking("echo hello", long).await;
    assert!(class == ErrorClass::Invalid && said.contains("must be a WAV file"), "{said}");
    let (class, _) = speaking("exec sleep 100", Duration::from_millis(50)).await;
    assert_eq!(class, ErrorClass::Timeout);
}

#[cfg(target_os = "linux")]
#[actix_rt::test]
async fn a_program_that_nobody_waits_for_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pid");
    let script = format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 100", path.display());
    let mut speaking = Box::pin(speech::perform(["sh", "-c", &script].map(str::to_owned).into(), 100));
    let patience = Duration::from_secs(20);
    let pid = tokio::time::timeout(patience, async {
        loop {
            assert!(futures::poll!(&mut speaking).is_pending());
            match fs::read_to_string(&path) {
                Ok(pid) => return pid.trim().to_owned(),
                Err(_) => tokio::task::yield_now().await,
            }
        }
    });
    let pid = pid.await.unwrap();
    drop(speaking);
    // Dead is gone, or not yet buried.
    let lives = || fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
    let dying = async {
        while lives() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(patience, dying).await.unwrap();
}

#[actix_rt::test]
async fn an_api_of_the_openai_form_speaks() {
    let server = TestServer::start(|request| {
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        let expected = serde_json::json!({
            "model": "m", "voice": "alloy", "input": body["input"].as_str(), "response_format": "wav"
        });
        let right = head.starts_with("POST /v1/audio/speech ") && head.contains("authorization: Bearer k3y");
        match body["input"].as_str() {
            Some("busy") => TestServer::answer(429, &[], b""),
            Some(_) if right && body == expected => TestServer::answer(200, &[], &wav(4)),
            _ => TestServer::answer(400, &[], b""),
        }
    });
    let mut config = config();
    config.http.allow_hosts.clear(); // the operator's own address needs no exception
    config.speech = Speech::OpenAi { url: server.url("/v1"), key: Secret::new("k3y"), model: "m".to_owned() };
    let port = studio(Path::new("/nowhere"), &config);
    assert_eq!(say(&port, "hello").await, Ok(silence(4)));
    assert_eq!(say(&port, "hello").await, Ok(silence(4)));
    assert_eq!(server.requests(), 1, "what was said once is kept");
    let (class, said) = say(&port, "busy").await.unwrap_err();
    assert!(class == ErrorClass::Limit && !said.contains("k3y"), "{said}");
}
