//! Enhanced authentication (4.12): AUTH before CONNACK and after it.

use bytes::{Bytes, BytesMut};
use postern_mqtt::exchange::AUTH_PACKETS_MAX;
use postern_mqtt::packet::{Auth, AuthenticationData, ConnAck, Connect, Disconnect, Packet, Version};
use postern_mqtt::{Fault, Limits, Link, ReasonCode, Sent};

use crate::talk::*;

const METHOD: &str = "M";
const OFFERS: Limits = Limits { authentication_methods: &["L", METHOD], ..LIMITS };
const LIMITS: Limits = Limits { connect_packet_bytes: 64, packet_bytes: 1024, ..Limits::DEFAULT };

fn data(text: &str) -> AuthenticationData {
    AuthenticationData(Bytes::copy_from_slice(text.as_bytes()))
}

fn with_method() -> Connect {
    Connect {
        authentication_method: Some(METHOD.into()),
        authentication_data: Some(data("first")),
        ..connect(Version::V5)
    }
}

fn auth(reason: ReasonCode) -> Auth {
    Auth { reason, method: Some(METHOD.into()), data: Some(data("x")), ..Auth::default() }
}

fn auth_bytes(reason: ReasonCode) -> Vec<u8> {
    wire(Version::V5, &Packet::Auth(auth(reason)))
}

/// A link that has taken the CONNECT.
fn greeted_with(connect: Connect) -> Link {
    let mut link = Link::new(OFFERS, 0);
    let packet = taken(&mut link, &wire(Version::V5, &Packet::Connect(Box::new(connect))));
    assert!(matches!(packet, Packet::Connect(_)));
    link
}

/// One that has asked for more.
fn challenged() -> Link {
    let mut link = greeted_with(with_method());
    said(&mut link, &Packet::Auth(auth(CONTINUE)));
    link
}

/// One that has let the client in.
fn authenticated() -> Link {
    let mut link = challenged();
    taken(&mut link, &auth_bytes(CONTINUE));
    said(&mut link, &conn_ack(ReasonCode::SUCCESS));
    link
}

const CONTINUE: ReasonCode = ReasonCode::CONTINUE_AUTHENTICATION;
const AGAIN: ReasonCode = ReasonCode::RE_AUTHENTICATE;

#[track_caller]
fn cannot_say(link: &mut Link, packet: &Packet) {
    let mut output = BytesMut::new();
    assert_eq!(link.send(packet, &mut output), Sent::NotInThisVersion, "{packet:?}");
    assert!(output.is_empty());
}

/// These bytes end the connection with this fault, told by a CONNACK before the client was let in and by a
/// DISCONNECT after that.
#[track_caller]
fn ends(mut link: Link, bytes: &[u8], fault: Fault, is_live: bool) {
    let error = receive(&mut link, bytes).expect_err("must be refused");
    assert_eq!(error.fault(), fault, "{bytes:02X?}");
    let farewell = said(&mut link, &error.farewell().expect("5.0 has a word for it"));
    let first = if is_live { [0xE0, 1, fault.reason().0] } else { [0x20, 3, 0] };
    assert_eq!(farewell[..3], first);
    assert!(is_live || farewell[3] == fault.reason().0);
    assert_eq!(receive(&mut link, &[0xC0, 0]).expect_err("is over").fault(), Fault::AfterEnd);
}

/// v5: MQTT-4.12.0-2, MQTT-4.12.0-5
#[test]
fn mqtt_4_12_0_2_auth_goes_to_and_fro_before_connack_with_the_method_of_connect() {
    let mut link = greeted_with(with_method());
    let asked = hex("F0 0A 18 08 15 0001 4D 16 0001 78");
    // The link names the method, whatever the driver says.
    let unnamed = Auth { method: None, ..auth(CONTINUE) };
    assert_eq!(said(&mut link, &Packet::Auth(unnamed)), asked);
    for _ in 0..2 {
        let Packet::Auth(heard) = taken(&mut link, &asked) else { panic!("AUTH") };
        assert_eq!(heard, auth(CONTINUE));
        assert_eq!(said(&mut link, &Packet::Auth(auth(CONTINUE))), asked);
    }
    taken(&mut link, &asked);
    let ack = ConnAck { authentication_data: Some(data("end")), ..ConnAck::default() };
    assert_eq!(said(&mut link, &Packet::ConnAck(Box::new(ack))), hex("20 0D 00 00 0A 15 0001 4D 16 0003 65 6E 64"));
    assert!(matches!(taken(&mut link, &[0xC0, 0]), Packet::PingReq));
}

/// v5: MQTT-4.12.0-2, MQTT-4.12.0-5
#[test]
fn mqtt_4_12_0_5_a_method_may_need_no_auth_at_all() {
    let mut link = greeted_with(with_method());
    assert_eq!(said(&mut link, &conn_ack(ReasonCode::SUCCESS)), hex("20 07 00 00 04 15 0001 4D"));
}

/// v5: MQTT-4.12.0-4
#[test]
fn mqtt_4_12_0_4_the_server_may_refuse_at_any_point() {
    for mut link in [greeted_with(with_method()), challenged()] {
        assert_eq!(said(&mut link, &conn_ack(ReasonCode::NOT_AUTHORIZED)), hex("20 03 00 87 00"));
        assert_eq!(receive(&mut link, &auth_bytes(CONTINUE)).expect_err("is over").fault(), Fault::AfterEnd);
    }
    // Data mean nothing without their method.
    let ack =
        ConnAck { reason: ReasonCode::NOT_AUTHORIZED, authentication_data: Some(data("e")), ..ConnAck::default() };
    assert_eq!(said(&mut challenged(), &Packet::ConnAck(Box::new(ack))), hex("20 0B 00 87 08 15 0001 4D 16 0001 65"));
}

/// v5: MQTT-4.12.0-1
#[test]
fn mqtt_4_12_0_1_a_method_that_is_not_offered_is_declined() {
    for method in ["", "m", "MM", "SCRAM-SHA-256"] {
        let mut link = Link::new(OFFERS, 0);
        let connect = Connect { authentication_method: Some(method.into()), ..connect(Version::V5) };
        let error = receive(&mut link, &wire(Version::V5, &Packet::Connect(Box::new(connect)))).unwrap_err();
        assert_eq!(error.reason(), ReasonCode::BAD_AUTHENTICATION_METHOD);
        assert_eq!(said(&mut link, &error.farewell().unwrap()), hex("20 03 00 8C 00"));
    }
}

/// v5: MQTT-4.12.0-6
#[test]
fn mqtt_4_12_0_6_without_a_method_in_connect_there_is_none_in_connack_and_no_auth() {
    let mut link = greeted_with(connect(Version::V5));
    cannot_say(&mut link, &Packet::Auth(auth(CONTINUE)));
    let ack = ConnAck {
        authentication_method: Some(METHOD.into()),
        authentication_data: Some(data("x")),
        ..ConnAck::default()
    };
    assert_eq!(said(&mut link, &Packet::ConnAck(Box::new(ack))), hex("20 03 00 00 00"));
    cannot_say(&mut link, &Packet::Auth(auth(CONTINUE)));
    ends(link, &auth_bytes(AGAIN), Fault::UnexpectedAuth, true);
}

#[test]
fn mqtt_3_1_2_30_between_connect_and_connack_nothing_but_auth_and_disconnect_is_taken() {
    // Not before the client was asked.
    let mut link = greeted_with(with_method());
    assert_eq!(receive(&mut link, &auth_bytes(CONTINUE)), Ok(None));
    for bytes in ["C0 00", "30 04 0001 61 00", "82 07 0001 00 0001 61 00"] {
        ends(challenged(), &hex(bytes), Fault::BeforeConnAck, false);
    }
    let mut link = challenged();
    assert!(matches!(taken(&mut link, &[0xE0, 0]), Packet::Disconnect(_)));
    cannot_say(&mut link, &conn_ack(ReasonCode::SUCCESS));
}

#[test]
fn b_16_an_auth_out_of_turn_or_with_another_method_is_a_protocol_error() {
    for other in [None, Some("L".into())] {
        for (link, reason, is_live) in [(challenged(), CONTINUE, false), (authenticated(), AGAIN, true)] {
            let bytes = wire(Version::V5, &Packet::Auth(Auth { method: other.clone(), ..auth(reason) }));
            ends(link, &bytes, Fault::OtherAuthenticationMethod, is_live);
        }
    }
    for reason in [ReasonCode::SUCCESS, AGAIN] {
        ends(challenged(), &auth_bytes(reason), Fault::AuthOutOfTurn, false);
    }
    for reason in [ReasonCode::SUCCESS, CONTINUE] {
        ends(authenticated(), &auth_bytes(reason), Fault::AuthOutOfTurn, true);
    }
    // One exchange at a time.
    let mut link = authenticated();
    taken(&mut link, &auth_bytes(AGAIN));
    ends(link, &auth_bytes(AGAIN), Fault::AuthOutOfTurn, true);
    for fault in [Fault::OtherAuthenticationMethod, Fault::AuthOutOfTurn, Fault::BeforeConnAck] {
        assert_eq!(fault.reason(), ReasonCode::PROTOCOL_ERROR);
    }
}

/// v5: MQTT-4.12.1-1
#[test]
fn mqtt_4_12_1_1_a_live_client_may_authenticate_again_beside_its_other_packets() {
    let mut link = authenticated();
    for _ in 0..2 {
        cannot_say(&mut link, &Packet::Auth(auth(CONTINUE)));
        cannot_say(&mut link, &Packet::Auth(auth(ReasonCode::SUCCESS)));
        taken(&mut link, &auth_bytes(AGAIN));
        said(&mut link, &Packet::PingResp);
        said(&mut link, &Packet::Auth(auth(CONTINUE)));
        assert!(matches!(taken(&mut link, &[0xC0, 0]), Packet::PingReq));
        taken(&mut link, &auth_bytes(CONTINUE));
        let done = Auth { data: None, ..auth(ReasonCode::SUCCESS) };
        assert_eq!(said(&mut link, &Packet::Auth(done)), hex("F0 06 00 04 15 0001 4D"));
    }
}

/// v5: MQTT-4.12.1-2
#[test]
fn mqtt_4_12_1_2_an_exchange_that_fails_ends_the_connection() {
    let mut link = authenticated();
    taken(&mut link, &auth_bytes(AGAIN));
    let disconnect = Packet::Disconnect(Disconnect::new(ReasonCode::NOT_AUTHORIZED));
    assert_eq!(said(&mut link, &disconnect), hex("E0 01 87"));
    cannot_say(&mut link, &Packet::Auth(auth(CONTINUE)));
    assert_eq!(receive(&mut link, &auth_bytes(CONTINUE)).expect_err("is over").fault(), Fault::AfterEnd);
}

#[test]
fn the_server_says_no_auth_that_is_the_clients() {
    cannot_say(&mut greeted_with(with_method()), &Packet::Auth(auth(AGAIN)));
    // Success is CONNACK's to say.
    cannot_say(&mut greeted_with(with_method()), &Packet::Auth(auth(ReasonCode::SUCCESS)));
    // Twice without an answer.
    cannot_say(&mut challenged(), &Packet::Auth(auth(CONTINUE)));
    let mut link = authenticated();
    taken(&mut link, &auth_bytes(AGAIN));
    cannot_say(&mut link, &Packet::Auth(auth(AGAIN)));
}

#[test]
fn an_exchange_ends_after_so_many_packets_and_the_next_one_counts_anew() {
    let mut link = challenged();
    for _ in 0..AUTH_PACKETS_MAX {
        taken(&mut link, &auth_bytes(CONTINUE));
        said(&mut link, &Packet::Auth(auth(CONTINUE)));
    }
    ends(link, &auth_bytes(CONTINUE), Fault::TooManyAuths, false);
    let mut link = authenticated();
    for _ in 0..AUTH_PACKETS_MAX {
        taken(&mut link, &auth_bytes(AGAIN));
        said(&mut link, &Packet::Auth(auth(ReasonCode::SUCCESS)));
    }
    taken(&mut link, &auth_bytes(AGAIN));
    for _ in 1..AUTH_PACKETS_MAX {
        said(&mut link, &Packet::Auth(auth(CONTINUE)));
        taken(&mut link, &auth_bytes(CONTINUE));
    }
    said(&mut link, &Packet::Auth(auth(CONTINUE)));
    ends(link, &auth_bytes(CONTINUE), Fault::TooManyAuths, true);
}

#[test]
fn until_connack_packets_are_bounded_as_connect_is() {
    let long = |length: usize| {
        let data = Some(data(&"x".repeat(length)));
        wire(Version::V5, &Packet::Auth(Auth { data, ..auth(CONTINUE) }))
    };
    let fits = long(64 - 11);
    assert_eq!(fits.len(), 64);
    taken(&mut challenged(), &fits);
    ends(challenged(), &long(64 - 10), Fault::PacketTooLarge, false);
    let mut link = authenticated();
    taken(&mut link, &auth_bytes(AGAIN));
    said(&mut link, &Packet::Auth(auth(CONTINUE)));
    taken(&mut link, &long(500));
}

/// v5: MQTT-3.15.2-2, MQTT-3.15.2-3
#[test]
fn mqtt_3_15_2_2_an_auth_explains_itself_as_far_as_the_client_takes_it() {
    let explained =
        Auth { reason_string: Some("why".into()), user_properties: vec![("a".into(), "b".into())], ..auth(CONTINUE) };
    let with = |maximum, wants_problems| {
        let connect =
            Connect { maximum_packet_size: maximum, request_problem_information: wants_problems, ..with_method() };
        said(&mut greeted_with(connect), &Packet::Auth(explained.clone()))
    };
    let bare = hex("F0 0A 18 08 15 0001 4D 16 0001 78");
    let with_reason = hex("F0 10 18 0E 15 0001 4D 16 0001 78 1F 0003 77 68 79");
    let whole = hex("F0 17 18 15 15 0001 4D 16 0001 78 1F 0003 77 68 79 26 0001 61 0001 62");
    assert_eq!(with(None, true), whole);
    assert_eq!(with(Some(25), true), whole);
    assert_eq!(with(Some(24), true), with_reason);
    assert_eq!(with(Some(18), true), with_reason);
    assert_eq!(with(Some(17), true), bare);
    assert_eq!(with(None, false), bare);
    let connect = Connect { maximum_packet_size: Some(11), ..with_method() };
    let mut output = BytesMut::new();
    assert_eq!(greeted_with(connect).send(&Packet::Auth(explained), &mut output), Sent::TooLarge);
    assert!(output.is_empty());
}

#[test]
fn a_debugged_packet_shows_no_authentication_data() {
    let packets = [
        Packet::Connect(Box::new(Connect { authentication_data: Some(data("hunter2")), ..with_method() })),
        Packet::Auth(Auth { data: Some(data("hunter2")), ..auth(CONTINUE) }),
        Packet::ConnAck(Box::new(ConnAck { authentication_data: Some(data("hunter2")), ..ConnAck::default() })),
    ];
    for packet in packets {
        let shown = format!("{packet:?}");
        assert!(shown.contains("(authentication data)") && !shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn the_keep_alive_bounds_an_exchange() {
    let mut link = challenged();
    assert_eq!(link.keep_alive_deadline_ms(), Some(90_000));
    let mut input = BytesMut::from(&auth_bytes(CONTINUE)[..]);
    assert!(matches!(link.receive(5_000, &mut input), Ok(Some(Packet::Auth(_)))));
    assert_eq!(link.keep_alive_deadline_ms(), Some(95_000));
}
