use postern_config::Origins;

use super::*;

/// What RFC 6455 asks of a client, beside the Host and the sub-protocol.
const WEBSOCKET: &str = "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";

fn settings() -> WebSocket {
    WebSocket {
        mqtt_path: "/mqtt".to_owned(),
        subprotocols: vec!["mqtt".to_owned(), "mqtt-v5".to_owned()],
        subprotocol_required: true,
        max_frame_bytes: 1024,
        idle_timeout: Duration::from_mins(1),
        origins: None,
    }
}

fn judged(head: &str, settings: &WebSocket, server_name: Option<&str>) -> Result<Response, Rejection> {
    let server_name = server_name.map(|name| DnsName::new(name).unwrap());
    parse(head.as_bytes()).and_then(|request| judge(&request, settings, server_name.as_ref()))
}

fn asking(path: &str, more: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: Broker.example.org:8084\r\n{WEBSOCKET}{more}\r\n")
}

#[track_caller]
fn status(head: &str, settings: &WebSocket, server_name: Option<&str>, expect: &str) {
    let rejection = judged(head, settings, server_name).unwrap_err();
    assert!(rejection.status.starts_with(expect), "{rejection:?}");
    assert!(rejection.answer().ends_with(&format!("\r\n\r\n{}\n", rejection.why)));
}

fn subprotocol(response: &Response) -> Option<&str> {
    response.headers().get("sec-websocket-protocol").map(|value| value.to_str().unwrap())
}

const OFFER: &str = "Sec-WebSocket-Protocol: mqtt\r\n";

/// v5: MQTT-6.0.0-4
/// v3.1.1: MQTT-6.0.0-4
#[test]
fn the_answer_is_that_of_the_standard() {
    let response = judged(&asking("/mqtt", OFFER), &settings(), None).unwrap();
    assert_eq!(response.status().as_u16(), 101);
    // RFC 6455 section 1.3 has this key and this answer.
    assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_eq!(subprotocol(&response), Some("mqtt"));
    assert!(judged(&asking("/mqtt?token=1", OFFER), &settings(), None).is_ok());
}

#[test]
fn another_path_is_not_found() {
    for path in ["/", "/mqtt/", "/MQTT", "/mqtt/../mqtt", "/other"] {
        status(&asking(path, OFFER), &settings(), None, "404");
    }
}

#[test]
fn a_19_a_subprotocol_must_be_offered_and_spoken() {
    let settings = settings();
    for offer in ["", "Sec-WebSocket-Protocol: mqttv3.1\r\n", "Sec-WebSocket-Protocol: MQTT\r\n"] {
        status(&asking("/mqtt", offer), &settings, None, "400");
    }
    let two = "Sec-WebSocket-Protocol: soap, mqtt-v5\r\nSec-WebSocket-Protocol: mqtt\r\n";
    assert_eq!(subprotocol(&judged(&asking("/mqtt", two), &settings, None).unwrap()), Some("mqtt-v5"));
    let lenient = WebSocket { subprotocol_required: false, ..settings };
    assert_eq!(subprotocol(&judged(&asking("/mqtt", ""), &lenient, None).unwrap()), None);
    status(&asking("/mqtt", "Sec-WebSocket-Protocol: soap\r\n"), &lenient, None, "400");
}

#[test]
fn the_host_must_be_the_name_of_the_handshake() {
    let settings = settings();
    let with = |host: &str| format!("GET /mqtt HTTP/1.1\r\n{host}{WEBSOCKET}{OFFER}\r\n");
    for host in ["broker.example.org", "BROKER.example.org.", "broker.example.org:443"] {
        let head = with(&format!("Host: {host}\r\n"));
        assert!(judged(&head, &settings, Some("broker.example.org")).is_ok(), "{host}");
    }
    for host in ["other.example.org", "127.0.0.1:8084", "[::1]:8084", "", "broker.example.org@other.example.org"] {
        let head = with(&format!("Host: {host}\r\n"));
        status(&head, &settings, Some("broker.example.org"), "421");
        assert!(judged(&head, &settings, None).is_ok(), "without a TLS name {host:?} says nothing");
    }
    for host in ["", "Host: a.example\r\nHost: a.example\r\n"] {
        status(&with(host), &settings, None, "400");
    }
    let absolute = "GET http://other.example.org/mqtt HTTP/1.1\r\nHost: broker.example.org\r\n";
    status(&format!("{absolute}{WEBSOCKET}{OFFER}\r\n"), &settings, Some("broker.example.org"), "400");
}

#[test]
fn what_is_no_upgrade_is_told_so() {
    let settings = settings();
    status("GET /mqtt HTTP/1.1\r\nHost: a\r\n\r\n", &settings, None, "426");
    status(&asking("/mqtt", OFFER).replace("Version: 13", "Version: 8"), &settings, None, "426");
    status(&asking("/mqtt", OFFER).replace("GET", "POST"), &settings, None, "405");
    status(&asking("/mqtt", OFFER).replace("HTTP/1.1", "HTTP/1.0"), &settings, None, "400");
    status(&asking("/mqtt", OFFER).replace("dGhl", "d"), &settings, None, "400");
    status(&asking("/mqtt", &"X-Pad: 1\r\n".repeat(60)), &settings, None, "431");
    status(&asking("/mqtt", &"X-Pad: 1\r\n".repeat(200)), &settings, None, "400");
}

#[test]
fn pages_of_other_origins_are_refused_where_origins_are_checked() {
    let origins = Origins { allowed: vec!["https://console.example.org".to_owned()], absence_allowed: false };
    let strict = WebSocket { origins: Some(origins.clone()), ..settings() };
    let from = |origin: &str| asking("/mqtt", &format!("{OFFER}{origin}"));
    let ours = "Origin: https://Console.example.org\r\n";
    assert!(judged(&from(ours), &strict, None).is_ok());
    for origin in ["", "Origin: https://evil.example\r\n", "Origin: null\r\n", &ours.repeat(2)] {
        status(&from(origin), &strict, None, "403");
    }
    let lenient = WebSocket { origins: Some(Origins { absence_allowed: true, ..origins }), ..settings() };
    assert!(judged(&from(""), &lenient, None).is_ok());
    status(&from("Origin: https://evil.example\r\n"), &lenient, None, "403");
}

#[tokio::test]
async fn a_request_ends_at_its_empty_line_or_at_the_bound() {
    let head = asking("/mqtt", OFFER);
    let (mut client, mut server) = tokio::io::duplex(64);
    let sent = [head.as_bytes(), b"early"].concat();
    let writer = tokio::spawn(async move {
        for byte in sent {
            client.write_all(&[byte]).await.unwrap();
        }
        client
    });
    let (read, early) = read_head(&mut server).await.unwrap().unwrap();
    assert_eq!((read.as_slice(), early.len() <= 5), (head.as_bytes(), true));
    drop(writer.await);

    let mut long: &[u8] = &asking("/mqtt", &format!("X-Pad: {}\r\n", "x".repeat(64 * 1024))).into_bytes();
    assert_eq!(read_head(&mut long).await, Ok(None));
    assert!(long.len() > 50 * 1024, "no more was read than the bound");
    let mut mqtt: &[u8] = b"\x10\x0d\x00\x04MQTT";
    assert!(read_head(&mut mqtt).await.unwrap_err().contains("without WebSocket"));
    let mut cut: &[u8] = b"GET /mqtt HTTP/1.1\r\n";
    assert!(read_head(&mut cut).await.is_err());
}
