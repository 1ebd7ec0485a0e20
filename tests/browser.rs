//! The dashboard as a person sees it: real calls against a real server, watched in a real browser. Pictures of it are
//! left in `target/screenshots`.

mod support;

use std::sync::Arc;

use holdline::config::{Config, JournalKind, Role, Secret, Token};
use holdline_harness::network::caller::Act;
use holdline_harness::network::real::Network;
use holdline_harness::network::{LineConfig, StatusEvent};
use serde_json::{Value, json};
use support::browser::{Key, Page, page};
use support::hosted::Hosted;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// A menu on a stream, then an echo that is recorded.
const MENU: &str = "\
label: Menu, on the line
tasks:
  - { type: answer }
  - { type: beep, name: hello, parameters: { duration: 100 } }
  - { type: digits_receive, name: choice, parameters: { duration: 60s, length: 2 } }
  - { type: branch, parameters: { variable: choice.digits, target_ids: { 12: talk }, default_target_id: talk } }
  - { type: recording_start, name: talk, parameters: { channels: 2 } }
  - { type: echo, name: mirror, parameters: { duration: 60s } }
  - { type: goto, parameters: { target_id: hello, loop_count: 2 } }
";
const MAIN: &str = "\
label: Menu
triggers: [{ type: twilio/inboundCall, name: came, parameters: { subWorkflow: menu-line } }]
tasks:
  - { type: variable_set, name: note, parameters: { key: keys, value: '${came.digits}' } }
outputs: [{ name: keys, value: '${keys}' }]
";
/// Nobody listens at the port of what it asks.
const FAILING: &str = "\
label: Failing
triggers: [{ type: twilio/inboundCall, name: came, parameters: { subWorkflow: short } }]
tasks:
  - { type: variable_set, name: note, parameters: { key: caller, value: '${came.from}' } }
  - type: http/request
    name: tell the desk
    retry: { attempts: 2, initial: 10ms }
    parameters: { method: POST, url: 'http://127.0.0.1:9/ticket', body: { caller: '${caller}' } }
";
const SHORT: &str = "tasks: [{ type: answer }, { type: beep, parameters: { duration: 100 } }]\n";
const FLOWS: [(&str, &str); 4] =
    [("menu", MAIN), ("menu-line", MENU), ("failing", FAILING), ("short", SHORT)];

fn hosted(change: impl FnOnce(&mut Config)) -> Hosted {
    Hosted::start(&FLOWS, |config| {
        config.journal.kind = JournalKind::Memory;
        config.calls.return_grace = std::time::Duration::from_millis(200);
        config.http.deny_private = false;
        change(config);
    })
}

/// A pretend caller who does what the test says.
struct Caller {
    does: mpsc::Sender<Act>,
    call: JoinHandle<()>,
}

impl Caller {
    fn rings(hosted: &Hosted, workflow: &str, from: &str) -> Caller {
        let voice = format!("{}/webhooks/{workflow}", hosted.public());
        let mut line = LineConfig::new(&voice, &format!("{workflow} {from}"));
        line.from = from.to_owned();
        line.fallback_url = Some(format!("{voice}/next"));
        line.status_url = Some(format!("{}/webhooks/twilio/status", hosted.public()));
        line.status_events = vec![StatusEvent::Answered, StatusEvent::Completed];
        let (does, hands) = mpsc::channel(16);
        let call = tokio::spawn(async move {
            Network::new().unwrap().place(line, hands, |_, _| {}).await.unwrap();
        });
        Caller { does, call }
    }

    async fn presses(&self, keys: &str) {
        self.does.send(Act::Presses(keys.to_owned())).await.unwrap();
    }

    /// A loud tone of so many seconds.
    async fn speaks(&self, seconds: usize) {
        let tone: Arc<[u8]> = (0..seconds * 8000).map(|at| if at % 16 < 8 { 0x90 } else { 0x10 }).collect();
        self.does.send(Act::Plays(tone)).await.unwrap();
    }

    async fn hangs_up(self) {
        self.does.send(Act::HangsUp).await.unwrap();
        self.call.await.unwrap();
    }

    async fn hears_the_end(self) {
        self.call.await.unwrap();
    }
}

/// Presses the button with these words.
async fn push(page: &mut Page, words: &str) {
    let mark = format!(
        "(() => {{ const found = [...document.querySelectorAll('button')].find((button) => button.textContent === {});
        if (found) found.dataset.pushed = {0}; return Boolean(found) }})()",
        json!(words)
    );
    page.until(&mark).await;
    page.click(&format!("[data-pushed={}]", json!(words))).await;
}

/// As a person takes another word of a choice.
async fn choose(page: &mut Page, selector: &str, value: &str) {
    page.until(&format!("document.querySelector({})", json!(selector))).await;
    let change = format!(
        "(() => {{ const node = document.querySelector({}); node.value = {};
        node.dispatchEvent(new Event('change', {{ bubbles: true }})) }})()",
        json!(selector),
        json!(value)
    );
    page.eval(&change).await;
}

/// Opens the dashboard, and waits until it is live.
async fn open(page: &mut Page, origin: &str) {
    page.go(&format!("{origin}/")).await;
    page.until_reads("h1", "Calls").await;
    page.until("document.querySelector('[data-connection=live], [data-connection=polling]')").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_appears_moves_and_ends_while_one_looks() {
    let Some(mut page) = page().await else { return };
    let hosted = hosted(|_| {});
    open(&mut page, &hosted.control()).await;
    page.until_reads(".empty", "holdline call hello").await;
    page.picture("no-calls").await;
    page.eval("window.sameDocument = true").await;

    let caller = Caller::rings(&hosted, "menu", "+14155550100");
    page.until_reads(".calls.live a.row", "+14155550100").await;
    page.until_reads(".calls.live .step", "choice").await;
    page.click(".calls.live a.row").await;
    page.until("document.querySelector('.node[data-outcome=current] text')?.textContent.includes('choice')")
        .await;
    page.until_reads("title", "+14155550100").await;

    caller.presses("12").await;
    page.until_reads(".digits", "12").await;
    page.until_reads(".now .step", "mirror").await;
    page.until("document.querySelector('.node[data-outcome=ok] text.head')?.textContent.includes('answer')")
        .await;
    page.until_reads(".timeline [data-event=digits]", "Presses").await;
    caller.speaks(30).await;
    let level = |side: &str| {
        format!("Number(document.querySelector('.now .{side} i').style.getPropertyValue('--level')) > 0.5")
    };
    page.until(&level("heard")).await;
    page.until(&level("spoken")).await;
    page.picture("one-call-live").await;

    caller.hangs_up().await;
    page.until_reads(".facts", "caller hangup").await;
    page.until("document.querySelector('.recording[data-state=ready] canvas')").await;
    let plays = page
        .eval(
            "new Promise((done) => {
                const audio = document.querySelector('.recording audio');
                const tell = () => done(audio.error?.message ?? audio.duration > 0);
                if (audio.readyState > 0 || audio.error) return tell();
                for (const kind of ['loadedmetadata', 'error']) audio.addEventListener(kind, tell);
            })",
        )
        .await;
    assert_eq!(plays, true);
    page.click("canvas.wave").await;
    page.until("document.querySelector('.recording audio').currentTime > 0").await;
    page.until("document.querySelector('canvas.wave').played > 0").await;
    let drawn = page
        .eval("(() => { const canvas = document.querySelector('canvas.wave'); const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height); return data.some((byte) => byte > 0) })()")
        .await;
    assert_eq!(drawn, true, "the waveform is drawn");
    page.until_reads(".panel", "Main workflow").await;
    page.until_reads(".steps li[data-outcome=ok]", "note").await;
    assert_eq!(
        page.eval("document.querySelectorAll('.of-call .buttons').length").await,
        0,
        "nothing to command"
    );
    page.picture("after-the-end").await;

    page.press(Key::Letter('u')).await;
    page.until_reads(".calls.ended a.row", "caller hangup").await;
    assert_eq!(page.eval("window.sameDocument").await, true, "it was never loaded again");
    page.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hang_up_button_ends_a_call_once_it_is_confirmed() {
    let Some(mut page) = page().await else { return };
    let hosted = hosted(|_| {});
    open(&mut page, &hosted.control()).await;
    let caller = Caller::rings(&hosted, "menu", "+14155550107");
    page.click(".calls.live a.row").await;
    page.until_reads(".now .step", "choice").await;
    page.click(".of-call button.danger").await;
    page.until_reads("dialog[open]", "Hang up?").await;
    page.press(Key::Escape).await;
    page.until("!document.querySelector('dialog')").await;
    assert_eq!(page.eval("document.querySelector('.facts .state').textContent").await, "active");

    page.click(".of-call button.danger").await;
    page.click("dialog[open] button.danger").await;
    page.until_reads(".facts .state", "hangup").await;
    caller.hears_the_end().await;
    page.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_main_workflow_is_shown_with_its_attempts_and_retried_by_a_button() {
    let Some(mut page) = page().await else { return };
    let hosted = hosted(|_| {});
    open(&mut page, &hosted.control()).await;
    Caller::rings(&hosted, "failing", "+14155550111").hears_the_end().await;
    page.click(".calls.ended a.row").await;
    page.until_reads(".panel .facts, .panel .state", "failed").await;
    page.until_reads(".steps li[data-outcome=failed]", "2 attempts").await;
    page.until_reads(".steps .error", "unavailable").await;
    page.click(".body button.primary").await;
    page.until_reads(".body", "It was retried").await;
    page.picture("failed-main-workflow").await;

    page.click(".body a[href*=activeflows]").await;
    page.until_reads(".facts", "retry of another one").await;
    page.until_reads(".facts .state", "failed").await;
    page.until("document.querySelector('.node[data-outcome=failed]')").await;
    page.go(&format!("{}/#/dead-letters", hosted.control())).await;
    page.until_reads(".letters li", "tell the desk").await;
    let letter = page.eval("document.querySelector('[data-letter]').dataset.letter").await;
    page.click(".letters button").await;
    page.until(&format!("!document.querySelector('[data-letter=\"{}\"]')", letter.as_str().unwrap())).await;
    page.go(&format!("{}/#/activeflows?show=failed", hosted.control())).await;
    page.until_reads(".runs a.row", "main workflow").await;
    page.picture("activeflows-failed").await;
    page.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_is_refused_and_a_reader_sees_all_but_can_change_nothing() {
    let Some(mut page) = page().await else { return };
    let hosted = hosted(|config| {
        config.control.tokens = vec![Token { token: Secret::new("reader's own"), role: Role::Read }];
    });
    page.go(&format!("{}/", hosted.control())).await;
    page.until_reads("label", "Token").await;
    for (token, then) in [("wrong", ".refusal"), ("reader's own", ".empty")] {
        page.eval("document.querySelector('input').focus(), document.querySelector('input').select()").await;
        page.write(token).await;
        page.press(Key::Enter).await;
        page.until(&format!("document.querySelector('{then}')?.textContent")).await;
    }
    let asked: Vec<String> = std::mem::take(&mut page.complaints);
    assert!(asked.iter().all(|line| line.contains("401")), "{asked:?}");

    let caller = Caller::rings(&hosted, "menu", "+14155550108");
    page.click(".calls.live a.row").await;
    page.until_reads(".now .step", "choice").await;
    assert_eq!(page.eval("document.querySelectorAll('main button.danger').length").await, 0);
    caller.hangs_up().await;
    page.until_reads(".facts .state", "hangup").await;
    page.until("[...document.querySelectorAll('button')].find((button) => button.textContent === 'Sign out')?.click() ?? true").await;
    page.until("document.querySelector('input[name=token]')").await;
    assert_eq!(page.eval("sessionStorage.length").await, 0);
    page.complaints.retain(|line| !line.contains("401"));
    page.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_whose_server_was_gone_for_a_while_says_so_and_catches_up() {
    let Some(mut page) = page().await else { return };
    let hosted = hosted(|_| {});
    let (plug, plugged) = watch::channel(true);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let server = hosted.addresses.control;
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let mut plugged = plugged.clone();
            tokio::spawn(async move {
                if !*plugged.borrow() {
                    return;
                }
                let mut far = TcpStream::connect(server).await.unwrap();
                tokio::select! {
                    _ = copy_bidirectional(&mut near, &mut far) => {}
                    _ = plugged.wait_for(|plugged| !*plugged) => {}
                }
            });
        }
    });
    open(&mut page, &origin).await;
    let before = Caller::rings(&hosted, "short", "+14155550104");
    before.hears_the_end().await;
    page.until_reads(".calls.ended a.row", "+14155550104").await;
    plug.send_replace(false);
    page.until("document.querySelector('.banner.shown')?.textContent.includes('may be old')").await;
    let caller = Caller::rings(&hosted, "menu", "+14155550109");
    plug.send_replace(true);
    page.until_reads(".calls.live a.row", "+14155550109").await;
    page.until("!document.querySelector('.banner.shown')").await;
    page.until("document.querySelector('[data-connection=live], [data-connection=polling]')").await;
    assert!(page.resumed.iter().any(|id| !id.is_empty()), "the stream goes on behind the last event");
    caller.hangs_up().await;
    page.until_reads(".calls.ended a.row", "+14155550109").await;
    page.complaints.retain(|line| !line.contains("net::ERR_"));
    page.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_call_is_commanded_exported_and_stopped_by_buttons() {
    let Some(mut page) = page().await else { return };
    let hosted = hosted(|_| {});
    open(&mut page, &hosted.control()).await;
    let caller = Caller::rings(&hosted, "menu", "+14155550106");
    page.click(".calls.live a.row").await;
    page.until_reads(".now .step", "choice").await;
    caller.presses("12").await;
    page.until_reads(".now .step", "mirror").await;
    push(&mut page, "Interrupt").await;
    page.until_reads(".notice.shown", "Interrupted").await;
    page.until_reads(".now .step", "choice").await;
    push(&mut page, "Say…").await;
    page.until("document.activeElement.name === 'text'").await;
    page.write("One moment, please.").await;
    page.picture("say").await;
    page.click("dialog[open] button.primary").await;
    page.until_reads(".notice.shown", "said").await;
    page.until("!document.querySelector('dialog')").await;
    // It is said by the network, which waits for the keys itself from then on, and can't be told to stop.
    page.until_reads(".now", "No stream").await;
    push(&mut page, "Interrupt").await;
    page.until_reads(".notice.shown", "can't be cut short from here").await;
    caller.presses("12").await;
    page.until_reads(".now .step", "mirror").await;

    // What would be saved by the browser is read here.
    page.eval("URL.createObjectURL = (file) => { window.exported = file; return 'data:,' }").await;
    push(&mut page, "Export").await;
    let exported = page.until("window.exported && window.exported.text()").await;
    let exported: Value = serde_json::from_str(exported.as_str().unwrap()).unwrap();
    assert_eq!(exported["call"]["from"], "+14155550106");
    assert!(exported["timeline"].as_array().is_some_and(|rows| rows.len() > 5), "{exported:#}");

    page.click(".panel header a[href*=activeflows]").await;
    page.until_reads("h1", "menu-line").await;
    push(&mut page, "Stop…").await;
    page.until_reads("dialog[open]", "its call with it").await;
    page.click("dialog[open] button.danger").await;
    page.until_reads(".facts .state", "stopped").await;
    caller.hears_the_end().await;
    // The browser itself complains of the refusal above.
    page.complaints.retain(|line| !line.contains("409 (Conflict)"));
    page.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_filtered_and_paged_and_the_address_says_how() {
    let Some(mut page) = page().await else { return };
    let hosted = hosted(|_| {});
    for number in 0..23 {
        Caller::rings(&hosted, "short", &format!("+141555502{number:02}")).hears_the_end().await;
    }
    Caller::rings(&hosted, "failing", "+14155550300").hears_the_end().await;
    open(&mut page, &hosted.control()).await;
    let rows = |count: usize| format!("document.querySelectorAll('.calls.ended a.row').length === {count}");
    page.until(&rows(20)).await;
    page.until_reads(".pager", "Page 1").await;
    push(&mut page, "Older").await;
    page.until(&rows(4)).await;
    page.until_reads(".calls.ended a.row", "+14155550200").await;
    push(&mut page, "Newer").await;
    page.until(&rows(20)).await;

    page.click(".filters input").await;
    page.write("+14155550207").await;
    page.press(Key::Enter).await;
    page.until(&rows(1)).await;
    page.until("location.hash.includes('from=%2B14155550207')").await;
    page.go(&format!("{}/#/calls?workflow=failing", hosted.control())).await;
    page.until_reads(".calls.ended a.row", "+14155550300").await;
    page.until(&rows(1)).await;
    assert_eq!(page.eval("document.querySelector('.filters select').value").await, "failing");
    choose(&mut page, ".filters label:nth-of-type(1) select", "menu").await;
    page.until_reads(".empty", "No live call fits").await;

    let runs = |count: usize| format!("document.querySelectorAll('.runs a.row').length === {count}");
    page.go(&format!("{}/#/activeflows?flow_id=failing", hosted.control())).await;
    page.until(&runs(1)).await;
    choose(&mut page, ".filters label:nth-of-type(1) select", "completed").await;
    page.until_reads(".empty", "No activeflow fits").await;
    choose(&mut page, ".filters label:nth-of-type(2) select", "").await;
    page.until("document.querySelectorAll('.runs a.row').length > 20").await;
    choose(&mut page, ".filters label:nth-of-type(3) select", "workflow").await;
    page.until_reads(".empty", "No activeflow fits").await;
    page.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_moves_for_whoever_asked_for_less_motion() {
    let Some(mut page) = page().await else { return };
    let hosted = hosted(|_| {});
    open(&mut page, &hosted.control()).await;
    let caller = Caller::rings(&hosted, "menu", "+14155550105");
    page.click(".calls.live a.row").await;
    page.until("document.querySelector('.node[data-outcome=current]')").await;
    let moves = "[...document.querySelectorAll('*')].some((node) => { const style = getComputedStyle(node);
        return style.animationName !== 'none' || style.transitionDuration.split(',').some((time) => parseFloat(time) > 0) })";
    assert_eq!(page.eval(moves).await, true);
    page.command(
        "Emulation.setEmulatedMedia",
        json!({ "features": [{ "name": "prefers-reduced-motion", "value": "reduce" }] }),
    )
    .await;
    assert_eq!(page.eval(moves).await, false);
    caller.hangs_up().await;
    page.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_caller_sends_is_text_wherever_it_is_shown() {
    let Some(mut page) = page().await else { return };
    let hosted = hosted(|_| {});
    open(&mut page, &hosted.control()).await;
    let name = "<img src=x onerror=alert(1)><script>alert(1)</script>\"'>";
    let caller = Caller::rings(&hosted, "menu", name);
    page.until_reads(".calls.live a.row", name).await;
    page.click(".calls.live a.row").await;
    page.until_reads("h1", name).await;
    page.until_reads(".timeline [data-event=call_arrived]", name).await;
    page.until_reads(".variables", name).await;
    assert_eq!(page.eval("document.querySelectorAll('img, main script').length").await, 0);
    caller.hangs_up().await;
    page.until_reads(".facts .state", "hangup").await;
    page.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keys_are_enough() {
    let Some(mut page) = page().await else { return };
    let hosted = hosted(|_| {});
    open(&mut page, &hosted.control()).await;
    let first = Caller::rings(&hosted, "menu", "+14155550121");
    page.until_reads(".calls.live a.row", "+14155550121").await;
    let second = Caller::rings(&hosted, "menu", "+14155550122");
    page.until("document.querySelectorAll('.calls.live a.row').length === 2").await;

    page.press(Key::Tab).await;
    assert_eq!(page.eval("document.activeElement.textContent").await, "Skip to content");
    page.press(Key::Enter).await;
    assert_eq!(page.eval("document.activeElement.id").await, "main");
    page.press(Key::Down).await;
    page.until("document.activeElement.textContent.includes('+14155550122')").await;
    page.press(Key::Down).await;
    page.until("document.activeElement.textContent.includes('+14155550121')").await;
    let outline = page.eval("getComputedStyle(document.activeElement).outlineStyle").await;
    assert_eq!(outline, "solid", "the focus is seen");
    page.press(Key::Up).await;
    page.press(Key::Down).await;
    page.press(Key::Enter).await;
    page.until_reads("h1", "+14155550121").await;
    assert_eq!(page.eval("document.activeElement.id").await, "main");
    page.press(Key::Letter('?')).await;
    page.until_reads("dialog[open]", "Workflows").await;
    page.press(Key::Escape).await;
    page.until("!document.querySelector('dialog')").await;
    page.press(Key::Letter('g')).await;
    page.press(Key::Letter('w')).await;
    page.until("document.querySelector('.flows a.row')").await;
    page.press(Key::Down).await;
    page.press(Key::Enter).await;
    page.until("document.querySelector('.node')").await;
    page.press(Key::Letter('u')).await;
    page.until_reads("h1", "Workflows").await;
    first.hangs_up().await;
    second.hangs_up().await;
    page.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_calls_fit_on_a_desk_on_a_phone_and_in_the_dark() {
    let Some(mut page) = page().await else { return };
    let hosted = hosted(|_| {});
    open(&mut page, &hosted.control()).await;
    let callers: Vec<Caller> =
        (0..20).map(|number| Caller::rings(&hosted, "menu", &format!("+141555501{number:02}"))).collect();
    page.until("document.querySelectorAll('.calls.live a.row').length === 20").await;
    page.until("[...document.querySelectorAll('.calls.live .step')].every((step) => step.textContent.includes('choice'))").await;
    for (at, caller) in callers.iter().enumerate() {
        caller.presses(if at % 3 == 0 { "12" } else { "1" }).await;
        caller.speaks(20).await;
    }
    page.until("[...document.querySelectorAll('.calls.live .step')].filter((step) => step.textContent.includes('mirror')).length >= 7").await;
    page.until("[...document.querySelectorAll('.heard i')].filter((bar) => Number(bar.style.getPropertyValue('--level')) > 0.5).length > 10").await;
    page.picture("twenty-live-calls").await;
    page.scheme("dark").await;
    page.picture("dark").await;
    page.scheme("light").await;
    page.size(375, 812).await;
    page.picture("phone").await;
    let wide = "[...document.querySelectorAll('body *')].filter((node) => document.documentElement.scrollWidth > 375
        && node.getBoundingClientRect().right > 376).map((node) => `${node.tagName}.${node.getAttribute('class')}`)";
    assert_eq!(page.eval(wide).await, json!([]), "nothing is wider than a phone");
    page.click(".calls.live li:last-child a.row").await;
    page.until("document.querySelector('.node')").await;
    assert_eq!(page.eval(wide).await, json!([]), "nor is a call's page");
    page.picture("phone-call").await;
    page.size(1280, 860).await;
    page.scheme("dark").await;
    page.picture("dark-call").await;
    for caller in callers {
        caller.hangs_up().await;
    }
    page.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workflows_are_drawn_so_that_nothing_covers_anything() {
    let Some(mut page) = page().await else { return };
    let samples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("flows");
    let hosted = Hosted::start(&[("broken", "tasks: [{ type: tlak }]\n")], |config| {
        config.journal.kind = JournalKind::Memory;
        for sample in std::fs::read_dir(&samples).unwrap().map(|entry| entry.unwrap().path()) {
            let name = sample.file_name().unwrap();
            if sample.is_file() {
                std::fs::copy(&sample, config.flows.dir.join(name)).unwrap();
            }
        }
        std::fs::create_dir(config.flows.dir.join("sounds")).unwrap();
        for sound in std::fs::read_dir(samples.join("sounds")).unwrap().map(|entry| entry.unwrap().path()) {
            std::fs::copy(&sound, config.flows.dir.join("sounds").join(sound.file_name().unwrap())).unwrap();
        }
    });
    page.go(&format!("{}/#/workflows", hosted.control())).await;
    page.until_reads(".flows a.row", "error").await;
    page.until_reads(".flows a.row", "tour-line").await;
    page.picture("workflows").await;
    let drawn = page
        .eval(
            "(async () => {
                const { layout } = await import(new URL('ui/layout.js', document.baseURI));
                const flows = (await (await fetch('v1/flows?page_size=100')).json()).result.map((flow) => flow.id);
                const told = {};
                for (const id of flows) {
                    const answer = await fetch(`v1/flows/${id}/outline`);
                    if (!answer.ok) continue;
                    const { nodes, edges, width, height, byId } = layout(await answer.json());
                    const inside = ({ x, y, width: w, height: h }) => x >= 0 && y >= 0 && x + w <= width && y + h <= height;
                    const apart = (a, b) => a === b || a.x + a.width <= b.x || b.x + b.width <= a.x || a.y + a.height <= b.y || b.y + b.height <= a.y;
                    const rows = nodes.flatMap((node) => node.rows);
                    told[id] = {
                        actions: nodes.length,
                        good: nodes.every((node) => inside(node) && nodes.every((other) => apart(node, other)))
                            && rows.every((row) => byId.has(row.to))
                            && edges.every((edge) => edge.kind === 'falls' || (edge.x < width && edge.start <= height && edge.end <= height)),
                    };
                }
                return told;
            })()",
        )
        .await;
    let drawn = drawn.as_object().unwrap();
    assert!(drawn.len() >= 15, "{drawn:?}");
    for (id, told) in drawn {
        assert_eq!(told["good"], true, "{id}");
        assert!(told["actions"].as_u64().unwrap() > 0, "{id}");
    }
    page.go(&format!("{}/#/workflows/support-line", hosted.control())).await;
    page.until("document.querySelectorAll('.node').length > 5").await;
    page.picture("workflow-drawn").await;
    page.go(&format!("{}/#/workflows/broken", hosted.control())).await;
    page.until_reads(".problems", "talk").await;
    page.complaints.retain(|line| !line.contains("404"));
    page.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pieces_of_the_page_do_what_they_say() {
    let Some(mut page) = page().await else { return };
    let hosted = hosted(|_| {});
    open(&mut page, &hosted.control()).await;
    let told = page
        .eval(
            "(async () => {
                const at = (name) => import(new URL(`ui/${name}`, document.baseURI));
                const [{ parse }, { readWav, peaks }, { length }, { h, render }] =
                    await Promise.all(['live.js', 'wave.js', 'words.js', 'dom.js'].map(at));
                const events = [];
                const read = parse((event) => events.push([event.id, event.type, event.data]));
                for (const piece of [': alive\\r\\n\\r', '\\nid: 7\\neve', 'nt: call.ended\\ndata: {\"a\":\\ndata: 1}\\n\\n', 'data: x\\n', '\\n']) read(piece);
                const wav = new ArrayBuffer(44 + 8);
                const view = new DataView(wav);
                [...'RIFF\\0\\0\\0\\0WAVEfmt '].forEach((letter, place) => view.setUint8(place, letter.charCodeAt(0)));
                view.setUint32(16, 16, true); view.setUint16(20, 1, true); view.setUint16(22, 2, true);
                view.setUint32(24, 8000, true); view.setUint16(34, 16, true);
                [...'data'].forEach((letter, place) => view.setUint8(36 + place, letter.charCodeAt(0)));
                view.setUint32(40, 8, true);
                [1, -32768, 2, 0].forEach((sample, place) => view.setInt16(44 + place * 2, sample, true));
                const sound = readWav(wav);
                const list = document.createElement('ul');
                const draw = (...keys) => render(list, keys.map((key) => h('li', { key }, key)));
                draw('a', 'b', 'c');
                const [a, , c] = list.childNodes;
                draw('c', 'x', 'a');
                const kept = list.childNodes[2] === a && list.childNodes[0] === c;
                return { events, rate: sound.rate, channels: sound.channels.map((one) => [...one]),
                    loudest: peaks(sound.channels[1], 1)[0], lengths: [0, 61_000, 3_723_000].map(length),
                    kept, list: list.textContent };
            })()",
        )
        .await;
    assert_eq!(
        told,
        json!({
            "events": [["7", "call.ended", "{\"a\":\n1}"], [null, "message", "x"]],
            "rate": 8000, "channels": [[1, 2], [-32768, 0]], "loudest": 1,
            "lengths": ["0:00", "1:01", "1:02:03"], "kept": true, "list": "cxa",
        })
    );
    page.close().await;
}
