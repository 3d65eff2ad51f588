//! What outlives a message or a connection.

use std::time::Duration;

use serde_json::{Value, json};

use crate::clients::matrix::Version;
use crate::clients::stage::{Played, Stage, failed, message, retained, with};

pub(super) fn retained_messages(stage: &mut Stage) -> Played {
    let (kept, cleared) = (stage.name("kept"), stage.name("cleared"));
    stage.enter_clean("p")?;
    stage.publish("p", &retained(&kept, "first", 1))?;
    stage.publish("p", &retained(&kept, "second", 1))?;
    stage.publish("p", &retained(&cleared, "gone", 1))?;
    stage.publish("p", &retained(&cleared, "", 1))?;
    stage.enter_clean("s")?;
    stage.subscribe("s", &stage.name("#"), 1)?;
    stage.hears("s", &retained(&kept, "second", 1))?;
    stage.publish("p", &message(&kept, "live", 0))?;
    stage.hears("s", &message(&kept, "live", 0))?;
    // What is cleared is not kept for the next; those who are here are told, as of any message.
    stage.publish("p", &retained(&kept, "", 1))?;
    stage.hears("s", &message(&kept, "", 1))?;
    stage.enter_clean("t")?;
    stage.subscribe("t", &stage.name("#"), 1)?;
    stage.publish("p", &message(&kept, "fence", 1))?;
    stage.hears("t", &message(&kept, "fence", 1)).map(drop)
}

pub(super) fn will(stage: &mut Stage) -> Played {
    let topic = stage.name("will");
    stage.enter_clean("w")?;
    stage.subscribe("w", &topic, 1)?;
    stage.enter("c", &json!({ "will": retained(&topic, "lost", 1) }))?;
    stage.subscribe("c", &stage.name("own"), 1)?;
    stage.vanish("c")?;
    stage.hears("w", &message(&topic, "lost", 1))?;
    stage.enter_clean("late")?;
    stage.subscribe("late", &topic, 1)?;
    stage.hears("late", &retained(&topic, "lost", 1))?;
    stage.enter_clean("p")?;
    stage.publish("p", &retained(&topic, "", 1))
}

/// Options for a session that is kept.
fn kept(stage: &Stage, client: &str, seconds: u32) -> Value {
    let options = json!({ "clean": false, "id": stage.name(client) });
    if stage.version() == Version::V5 { with(options, &json!({ "session_expiry": seconds })) } else { options }
}

/// Whether the session was said to be there, by a library that tells.
fn expect_present(told: &Value, expected: bool) -> Played {
    match told["session_present"].as_bool() {
        Some(present) if present != expected => failed(format!("the session's presence is told as {present}")),
        _ => Ok(()),
    }
}

pub(super) fn session(stage: &mut Stage) -> Played {
    let (one, two) = (stage.name("t/1"), stage.name("t/2"));
    let options = kept(stage, "c", 300);
    // 3.1 has no such flag: its byte is reserved.
    let told = stage.version() != Version::V3_1;
    let first = stage.enter("c", &options)?;
    expect_present(&first, false)?;
    stage.subscribe("c", &stage.name("t/+"), 2)?;
    stage.leave("c")?;
    stage.enter_clean("p")?;
    for number in 0..10 {
        stage.publish("p", &message(&one, number.to_string(), 1))?;
        stage.publish("p", &message(&two, number.to_string(), 2))?;
    }
    let second = stage.enter("c", &options)?;
    if told {
        expect_present(&second, true)?;
    }
    // In order within a topic and QoS; some libraries hand a message over at its PUBREL.
    let mut next = [0, 0];
    for _ in 0..20 {
        let got = stage.hears("c", &json!({}))?;
        let at_two = got["topic"] == two;
        let (topic, qos, next) = if at_two { (&two, 2, &mut next[1]) } else { (&one, 1, &mut next[0]) };
        let expected = message(topic, next.to_string(), qos);
        if ["topic", "payload", "qos"].iter().any(|key| got[key] != expected[key]) {
            return failed(format!("heard {got}, not {expected}"));
        }
        *next += 1;
    }
    stage.leave("c")?;
    // A clean start forgets.
    stage.enter("c", &json!({ "id": stage.name("c") }))?;
    stage.leave("c")?;
    let last = stage.enter("c", &options)?;
    expect_present(&last, false)?;
    stage.leave("c")?;
    stage.enter("c", &json!({ "id": stage.name("c") })).map(drop)
}

pub(super) fn takeover(stage: &mut Stage) -> Played {
    const SESSION_TAKEN_OVER: u64 = 0x8E;
    let id = stage.name("same");
    stage.enter("first", &json!({ "id": id }))?;
    stage.enter("second", &json!({ "id": id }))?;
    let closed = stage.see("first", "closed")?;
    let told = closed["code"].as_u64();
    if stage.version() == Version::V5 && told.is_some_and(|code| code != SESSION_TAKEN_OVER) {
        return failed(format!("the first is told {closed}"));
    }
    let topic = stage.name("after");
    stage.subscribe("second", &topic, 1)?;
    stage.enter_clean("p")?;
    stage.publish("p", &message(&topic, "after", 1))?;
    stage.hears("second", &message(&topic, "after", 1)).map(drop)
}

pub(super) fn session_expiry(stage: &mut Stage) -> Played {
    const EXPIRY_S: u32 = 1;
    let presence = |stage: &mut Stage, client: &str, pause: Duration| -> Played<bool> {
        let seconds = if pause.is_zero() { 300 } else { EXPIRY_S };
        let options = kept(stage, client, seconds);
        stage.enter(client, &options)?;
        stage.subscribe(client, &stage.name(client), 1)?;
        stage.leave(client)?;
        std::thread::sleep(pause);
        let told = stage.enter(client, &options)?;
        let present = told["session_present"].as_bool();
        present.map_or_else(|| Stage::unspoken("does not tell whether its session was there"), Ok)
    };
    // Time is what this is about.
    if presence(stage, "short", Duration::from_secs(u64::from(EXPIRY_S)) * 5 / 2)? {
        return failed("the session is still there after its time");
    }
    if !presence(stage, "long", Duration::ZERO)? {
        return failed("the session is gone before its time");
    }
    stage.leave("long")?;
    stage.enter("long", &json!({ "id": stage.name("long") })).map(drop)
}
