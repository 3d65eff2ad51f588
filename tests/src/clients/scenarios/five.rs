//! What only 5.0 has.

use std::time::Duration;

use serde_json::json;

use crate::clients::stage::{Played, Stage, failed, hex, message, retained, with};

/// A publisher `p`, and a subscriber `s` to this topic.
fn pair(stage: &mut Stage, topic: &str) -> Played {
    stage.enter_clean("s")?;
    stage.subscribe("s", topic, 1)?;
    stage.enter_clean("p")
}

pub(super) fn user_properties(stage: &mut Stage) -> Played {
    let topic = stage.name("x");
    pair(stage, &topic)?;
    // An empty text is one, too.
    let user = json!([["b", "1"], ["a", "2"], ["", "3"], ["c", "zwölf€"]]);
    let message = with(message(&topic, "x", 1), &json!({ "user": user }));
    stage.publish("p", &message)?;
    stage.hears("s", &message).map(drop)
}

pub(super) fn user_properties_again(stage: &mut Stage) -> Played {
    let topic = stage.name("x");
    pair(stage, &topic)?;
    let user = json!([["b", "1"], ["a", "2"], ["b", "3"], ["b", "1"]]);
    let message = with(message(&topic, "x", 1), &json!({ "user": user }));
    stage.publish("p", &message)?;
    stage.hears("s", &message).map(drop)
}

pub(super) fn request_response(stage: &mut Stage) -> Played {
    let (asked, answers) = (stage.name("asked"), stage.name("answers"));
    stage.enter_clean("service")?;
    stage.subscribe("service", &asked, 1)?;
    stage.enter_clean("asking")?;
    stage.subscribe("asking", &answers, 1)?;
    stage.enter_clean("p")?;
    let correlation = hex(b"\x00\x01\xFFcorrelation");
    let more = json!({ "response_topic": answers, "correlation": correlation, "content_type": "text/plain" });
    let request = with(message(&asked, "what?", 1), &more);
    stage.publish("p", &request)?;
    let got = stage.hears("service", &request)?;
    let back = got["response_topic"].as_str().unwrap_or_default().to_owned();
    let answer = with(message(&back, "this", 1), &json!({ "correlation": got["correlation"] }));
    stage.publish("p", &answer)?;
    stage.hears("asking", &with(message(&answers, "this", 1), &json!({ "correlation": correlation }))).map(drop)
}

pub(super) fn message_expiry(stage: &mut Stage) -> Played {
    const LONG_S: u64 = 100;
    let topic = stage.name("x");
    let options = json!({ "clean": false, "id": stage.name("s"), "session_expiry": 300 });
    stage.enter("s", &options)?;
    stage.subscribe("s", &topic, 1)?;
    stage.leave("s")?;
    stage.enter_clean("p")?;
    stage.publish("p", &with(message(&topic, "gone", 1), &json!({ "expiry": 1 })))?;
    stage.publish("p", &with(message(&topic, "kept", 1), &json!({ "expiry": LONG_S })))?;
    // Time is what this is about.
    std::thread::sleep(Duration::from_millis(2_500));
    stage.enter("s", &options)?;
    let got = stage.hears("s", &message(&topic, "kept", 1))?;
    let left = got["expiry"].as_u64();
    stage.leave("s")?;
    stage.enter("s", &json!({ "id": stage.name("s") }))?;
    match left {
        Some(left) if (1..LONG_S).contains(&left) => Ok(()),
        left => failed(format!("{left:?} s are left of {LONG_S}")),
    }
}

pub(super) fn identifiers(stage: &mut Stage) -> Played {
    let topic = stage.name("a/b");
    stage.enter_clean("s")?;
    stage.subscribe_with("s", &topic, 1, &json!({ "identifier": 200_000 }))?;
    stage.enter_clean("p")?;
    stage.publish("p", &message(&topic, "x", 1))?;
    stage.hears("s", &with(message(&topic, "x", 1), &json!({ "identifiers": [200_000] }))).map(drop)
}

pub(super) fn alias_of_the_client(stage: &mut Stage) -> Played {
    let topic = stage.name("a/long/topic");
    pair(stage, &topic)?;
    stage.publish("p", &with(message(&topic, "first", 1), &json!({ "alias": 1 })))?;
    stage.publish("p", &with(message("", "second", 1), &json!({ "alias": 1 })))?;
    stage.hears("s", &message(&topic, "first", 1))?;
    stage.hears("s", &message(&topic, "second", 1)).map(drop)
}

pub(super) fn alias_of_the_broker(stage: &mut Stage) -> Played {
    stage.enter("s", &json!({ "topic_alias_maximum": 5 }))?;
    stage.subscribe("s", &stage.name("+"), 1)?;
    stage.enter_clean("p")?;
    for round in ["1", "2"] {
        for topic in ["a", "b"] {
            stage.publish("p", &message(&stage.name(topic), round, 1))?;
            stage.hears("s", &message(&stage.name(topic), round, 1))?;
        }
    }
    Ok(())
}

pub(super) fn no_local(stage: &mut Stage) -> Played {
    let topic = stage.name("x");
    stage.enter_clean("s")?;
    stage.subscribe_with("s", &topic, 1, &json!({ "no_local": true }))?;
    stage.enter_clean("p")?;
    stage.publish("s", &message(&topic, "own", 1))?;
    stage.publish("p", &message(&topic, "other's", 1))?;
    stage.hears("s", &message(&topic, "other's", 1)).map(drop)
}

pub(super) fn retain_handling(stage: &mut Stage) -> Played {
    const NOT_AT_SUBSCRIBE: u8 = 2;
    let topic = stage.name("x");
    stage.enter_clean("p")?;
    stage.publish("p", &retained(&topic, "kept", 1))?;
    stage.enter_clean("s")?;
    let options = json!({ "retain_handling": NOT_AT_SUBSCRIBE, "retain_as_published": true });
    stage.subscribe_with("s", &topic, 1, &options)?;
    stage.publish("p", &retained(&topic, "live", 1))?;
    stage.hears("s", &retained(&topic, "live", 1))?;
    stage.publish("p", &retained(&topic, "", 1))
}

pub(super) fn server_keep_alive(stage: &mut Stage) -> Played {
    /// Longer than the broker allows; it says what it allows.
    const ASKED_S: u64 = 40_000;
    let told = stage.enter("c", &json!({ "keep_alive": ASKED_S }))?;
    match told.get("server_keep_alive") {
        None => Stage::unspoken("does not tell the keep alive that the broker asks for"),
        Some(seconds) if seconds.as_u64().is_some_and(|seconds| (1..ASKED_S).contains(&seconds)) => Ok(()),
        Some(other) => failed(format!("the keep alive is told as {other}")),
    }
}
