//! Whoever floods the public listener is refused cheaply, and calls from elsewhere, or behind the same address, still
//! get through.

mod support;

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use futures::future::join_all;
use holdline::config::JournalKind;
use holdline::config::Secret;
use holdline_harness::network::sign;
use support::exposition::read;
use support::hosted::Hosted;
use support::wire::Asker;

const ECHO: (&str, &str) = ("echo", "tasks: [{ type: echo }]\n");
const KEY: &str = "the network's key";
/// Requests of one flood, in so many hands.
const FLOOD: usize = 1500;
const HANDS: usize = 8;
const RATE: u32 = 50;
/// The network waits for fifteen seconds; we want to be well below one.
const SOON: Duration = Duration::from_secs(5);

/// One of many machines; all of 127.0.0.0/8 is this one.
fn from(last: u8) -> reqwest::Client {
    let _ = Asker::new("http://127.0.0.1:1", None);
    let address = IpAddr::from(Ipv4Addr::new(127, 0, 0, last));
    reqwest::Client::builder().no_proxy().local_address(address).build().unwrap()
}

/// Forged requests, as fast as they are answered; the statuses of the answers.
async fn flood(client: &reqwest::Client, origin: &str) -> Vec<u16> {
    let hand = |hand: usize| async move {
        let mut statuses = Vec::new();
        for number in 0..FLOOD / HANDS {
            let call = format!("CA{hand:016}{number:016}");
            let request = client.post(format!("{origin}/webhooks/echo")).body(format!("CallSid={call}"));
            let request = request.header("content-type", "application/x-www-form-urlencoded");
            // Every second one pretends to be signed.
            let request =
                if number % 2 == 0 { request.header(sign::HEADER, "bm90IHNpZ25lZA==") } else { request };
            statuses.push(request.send().await.unwrap().status().as_u16());
        }
        statuses
    };
    join_all((0..HANDS).map(hand)).await.concat()
}

#[tokio::test]
#[allow(clippy::disallowed_methods)] // it measures real time
async fn calls_get_through_while_a_source_floods() {
    for flooder in [2, 1] {
        let hosted = Hosted::start(&[ECHO], |config| {
            config.journal.kind = JournalKind::Memory;
            config.public.rate_limit = Some(RATE);
            config.twilio.auth_tokens = vec![Secret::new(KEY)];
        });
        let (origin, network) = (hosted.public(), Asker::new(&hosted.public(), Some(KEY)));
        let client = from(flooder);
        let calls = async {
            let mut slowest = Duration::ZERO;
            for number in 0..20 {
                let began = Instant::now();
                let told = network.arrive("echo", &sign::sid("CA", &format!("{flooder} {number}"))).await;
                assert!(told.status == 200 && told.body.contains("<Stream"), "{} {}", told.status, told.body);
                slowest = slowest.max(began.elapsed());
            }
            slowest
        };
        let (statuses, slowest) = futures::join!(flood(&client, &origin), calls);
        assert!(slowest < SOON, "a call waited for {slowest:?} beside the flood of 127.0.0.{flooder}");
        assert!(statuses.iter().all(|status| matches!(status, 403 | 429)), "{statuses:?}");
        let too_many = statuses.iter().filter(|status| **status == 429).count();
        assert!(too_many > 0, "{FLOOD} requests are more than {RATE} a second");

        let page = read(&Asker::new(&hosted.control(), None).get("/metrics").await.body);
        let is = |name: &str, labels: &[(&str, &str)], count: usize| {
            assert_eq!(page.sum(name, labels), count as f64, "{name} {labels:?}");
        };
        is("holdline_webhook_refusals_total", &[("code", "rate_limited")], too_many);
        is("holdline_limit_hits_total", &[("limit", "source_requests")], too_many);
        is("holdline_webhook_refusals_total", &[("code", "bad_signature")], statuses.len() - too_many);
        is("holdline_calls_arrived_total", &[], 20);
        assert!(page.sum("holdline_log_lines_withheld_total", &[]) > 0.0, "a flood does not fill the log");
        assert!(page.sum("holdline_limit_used", &[("limit", "sources")]) >= 1.0);
        assert!(page.sum("holdline_connections", &[("listener", "public")]) >= 1.0);
    }
}

#[tokio::test]
async fn behind_a_proxy_that_is_believed_each_of_its_own_sources_counts() {
    let hosted = Hosted::start(&[ECHO], |config| {
        config.journal.kind = JournalKind::Memory;
        config.public.rate_limit = Some(1);
        config.public.insecure_no_signatures = true;
        config.public.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    });
    let asker = Asker::new(&hosted.public(), None);
    let ask =
        async |source: &str| asker.get_with("/webhooks/none", &[("x-forwarded-for", source)]).await.status;
    let mut flood = Vec::new();
    for _ in 0..20 {
        flood.push(ask("203.0.113.7").await);
    }
    assert!(flood.contains(&429), "{flood:?}");
    // What the proxy was told by others does not count, what it saw itself does.
    assert_eq!(ask("203.0.113.7, 198.51.100.9").await, 404);
}
