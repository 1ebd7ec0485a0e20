use super::*;
use crate::adapter::test_server::TestServer;
use crate::config::{Config, Sources};
use std::net::Ipv4Addr;

const SECOND: Duration = Duration::from_secs(1);

fn port(allow_hosts: &str) -> HttpPort {
    let environment = [("HOLDLINE__HTTP__ALLOW_HOSTS".to_owned(), allow_hosts.to_owned())].into();
    HttpPort::new(&Config::load(&Sources { environment, ..Sources::default() }).unwrap().http)
}

/// Far below the request's own limit: nothing here waits for a time to pass, but for the test of that.
fn get(url: String) -> HttpRequest {
    HttpRequest::get(url, 10 * SECOND, 1000)
}

async fn refused(http: &HttpPort, request: HttpRequest) -> String {
    let error = http.send(request).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Rejected, "{error}");
    error.message
}

#[actix_rt::test]
async fn an_allowed_host_answers_and_its_status_becomes_a_class() {
    let server = TestServer::start(|request| match request.split([' ', '?']).nth(1) {
        Some("/hello") => TestServer::answer(200, &[("x-own", "1")], request.as_bytes()),
        Some("/404") => TestServer::answer(404, &[], b""),
        Some("/429") => TestServer::answer(429, &[], b""),
        _ => TestServer::answer(503, &[], b""),
    });
    let http = port("[\"127.0.0.1\"]");
    let mut request = get(server.url("/hello?key=1"));
    request.method = Method::PUT;
    request.headers = vec![("X-Key".into(), "k".into())];
    request.body = Some(b"{}".to_vec());
    let error = http.send(get(server.url("/404?key=s3cret"))).await.unwrap().error().unwrap();
    assert!(!error.message.contains("s3cret") && error.message.contains("/404 answered 404"), "{error}");
    request.url = server.url("/hello");
    let answer = http.send(request).await.unwrap();
    assert_eq!((answer.status, answer.error()), (StatusCode::OK, None));
    assert_eq!(answer.header(HeaderName::from_static("x-own")), Some("1"));
    let seen = String::from_utf8(answer.body).unwrap();
    assert!(seen.starts_with("PUT /hello HTTP/1.1") && seen.contains("x-key: k") && seen.ends_with("{}"));
    for (path, class) in
        [("/404", ErrorClass::Rejected), ("/429", ErrorClass::Limit), ("/503", ErrorClass::Unavailable)]
    {
        let answer = http.send(get(server.url(path))).await.unwrap();
        assert_eq!(answer.error().unwrap().class, class);
    }
}

#[actix_rt::test]
async fn what_is_inside_is_refused_by_address_and_by_name_and_by_port() {
    let server = TestServer::start(|_| TestServer::answer(200, &[], b"inside"));
    let none = port("[]");
    let port_of = server.port();
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0x7f.1", "[::1]", "0.0.0.0"] {
        let said = refused(&none, get(format!("http://{host}:{port_of}/"))).await;
        assert!(said.contains("is not a public address"), "{said}");
    }
    assert_eq!(server.requests(), 0, "nobody was asked");

    let other = port(&format!("[\"localhost:{}\"]", port_of ^ 1));
    refused(&other, get(format!("http://localhost:{port_of}/"))).await;
    let this = port(&format!("[\"localhost:{port_of}\"]"));
    let answer = this.send(get(format!("http://localhost:{port_of}/"))).await.unwrap();
    assert_eq!(answer.body, b"inside");

    let mut trusted = get(server.url("/"));
    trusted.trust = Trust::Operator;
    assert!(none.send(trusted).await.is_ok(), "the operator's own addresses may be inside");
    refused(&none, get(server.url("/"))).await;
}

#[actix_rt::test]
async fn every_redirect_is_judged_and_there_are_at_most_five() {
    let inside = TestServer::start(|request| TestServer::answer(200, &[], request.as_bytes()));
    let to = inside.port();
    let server = TestServer::start(move |request| {
        let path = request.split(' ').nth(1).unwrap_or_default();
        let redirect = |status, to: &str| TestServer::answer(status, &[("location", to)], b"");
        match path.strip_prefix("/hop/").and_then(|left| left.parse::<u32>().ok()) {
            Some(0) => TestServer::answer(200, &[], request.as_bytes()),
            Some(left) => redirect(302, &format!("/hop/{}", left - 1)),
            None if path == "/file" => redirect(302, "file:///etc/passwd"),
            None if path == "/allowed" => redirect(307, &format!("http://localhost:{to}/there")),
            None => redirect(301, &format!("http://localhost:{to}/there")),
        }
    });
    let only_first = port(&format!("[\"127.0.0.1:{}\"]", server.port()));
    let said = refused(&only_first, get(server.url("/inside"))).await;
    assert!(said.contains("localhost is not reached"), "{said}");
    refused(&only_first, get(server.url("/file"))).await;
    assert_eq!(inside.requests(), 0);

    assert!(only_first.send(get(server.url("/hop/5"))).await.is_ok());
    let said = refused(&only_first, get(server.url("/hop/6"))).await;
    assert!(said.contains("at most 5 redirects"), "{said}");

    let mut request = get(server.url("/hop/1"));
    request.method = Method::POST;
    request.body = Some(b"{}".to_vec());
    request.headers = vec![("X-Key".into(), "secret".into()), ("accept".into(), "audio/wav".into())];
    let same = String::from_utf8(only_first.send(request.clone()).await.unwrap().body).unwrap();
    assert!(same.starts_with("GET ") && same.contains("x-key: secret") && !same.ends_with("{}"), "{same}");
    request.url = server.url("/allowed");
    let other = port("[\"127.0.0.1\", \"localhost\"]").send(request).await.unwrap();
    let seen = String::from_utf8(other.body).unwrap();
    assert!(seen.starts_with("POST /there") && seen.ends_with("{}") && seen.contains("accept: audio/wav"));
    assert!(!seen.contains("secret"), "another origin learns no header that may be a secret: {seen}");
}

#[actix_rt::test]
async fn too_much_too_late_and_nobody_there_each_have_their_class() {
    let server = TestServer::start(|request| match request.contains("/never ") {
        true => Vec::new(),
        false => TestServer::answer(200, &[], &[0; 1001]),
    });
    let http = port("[\"127.0.0.0/8\"]");
    let too_much = http.send(get(server.url("/"))).await.unwrap_err();
    assert_eq!(too_much.class, ErrorClass::Invalid);
    assert!(too_much.message.contains("more than 1000 bytes"), "{too_much}");
    let mut exact = get(server.url("/"));
    exact.bytes_max = 1001;
    assert_eq!(http.send(exact).await.unwrap().body.len(), 1001);

    let mut late = get(server.url("/never "));
    late.url = server.url("/never");
    late.timeout = Duration::from_millis(50);
    assert_eq!(http.send(late).await.unwrap_err().class, ErrorClass::Timeout);

    let gone = server.url("/");
    drop(server);
    let error = http.send(get(gone)).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Unavailable, "{error}");
    for bad in ["ftp://example.com/", "no url", "file:///etc/passwd"] {
        assert_eq!(http.send(get(bad.into())).await.unwrap_err().class, ErrorClass::Invalid);
    }
}

#[test]
fn public_is_only_what_the_world_can_reach() {
    let public = ["8.8.8.8", "172.32.0.1", "100.128.0.1", "192.0.1.1", "2606:4700::1111", "64:ff9b::808:808"];
    let inside = [
        "0.1.2.3",
        "10.0.0.1",
        "127.8.8.8",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "100.64.0.1",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "192.0.2.1",
        "::",
        "::1",
        "fe80::1",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "::127.0.0.1",
        "2002:7f00:1::",
        "2001:0:1::",
        "2001:db8::1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::1",
        "fec0::1",
    ];
    public.iter().for_each(|text| assert!(is_public(text.parse().unwrap()), "{text}"));
    inside.iter().for_each(|text| assert!(!is_public(text.parse().unwrap()), "{text}"));
    assert!(is_public(IpAddr::V4(Ipv4Addr::new(1, 1, 1, 1))));
}
