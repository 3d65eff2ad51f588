//! Messages on their way, in all versions.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use super::DENIED;
use crate::clients::matrix::Version;
use crate::clients::stage::{Played, Stage, failed, hex, message};

/// Messages of one burst.
const BURST: usize = 1_000;

pub(super) fn connect_and_ping(stage: &mut Stage) -> Played {
    const KEEP_ALIVE_S: u64 = 1;
    let topic = stage.name("ping");
    let told = stage.enter("c", &json!({ "keep_alive": KEEP_ALIVE_S }))?;
    stage.subscribe("c", &topic, 1)?;
    // Some libraries take no keep alive as short as this, and say which one they took.
    let seconds = told["keep_alive"].as_u64().unwrap_or(KEEP_ALIVE_S);
    // Time is what this is about: after half as much again the broker ends the connection of a client that does not
    // ping (MQTT-3.1.2-22).
    std::thread::sleep(Duration::from_secs(seconds) * 2);
    stage.enter_clean("p")?;
    stage.publish("p", &message(&topic, "still here", 1))?;
    stage.hears("c", &message(&topic, "still here", 1))?;
    stage.leave("c")
}

pub(super) fn round_trips(stage: &mut Stage) -> Played {
    stage.enter_clean("p")?;
    for granted in [0, 1, 2] {
        let subscriber = format!("s{granted}");
        let topic = stage.name(&subscriber);
        stage.enter_clean(&subscriber)?;
        stage.subscribe(&subscriber, &topic, granted)?;
        for sent in [0, 1, 2] {
            let payload = format!("sent at {sent}");
            stage.publish("p", &message(&topic, &payload, sent))?;
            stage.hears(&subscriber, &message(&topic, &payload, sent.min(granted)))?;
        }
    }
    Ok(())
}

pub(super) fn payload_sizes(stage: &mut Stage) -> Played {
    let topic = stage.name("sizes");
    stage.enter_clean("s")?;
    stage.enter_clean("p")?;
    stage.subscribe("s", &topic, 2)?;
    for size in [0, 1, 64 << 10, 900 << 10] {
        // All byte values, and no period that a buffer's size could hide.
        let payload: Vec<u8> = (0..size).map(|at| u8::try_from((at + at / 251) % 256).unwrap()).collect();
        for qos in [0, 1, 2] {
            stage.publish("p", &message(&topic, &payload, qos))?;
            stage.hears("s", &message(&topic, &payload, qos))?;
        }
    }
    Ok(())
}

fn order(stage: &mut Stage, qos: u8) -> Played {
    let topic = stage.name("burst");
    stage.enter_clean("s")?;
    stage.enter_clean("p")?;
    stage.subscribe("s", &topic, qos)?;
    stage.tell("p", "burst", &json!({ "topic": topic, "qos": qos, "count": BURST }))?;
    for number in 0..BURST {
        stage.hears("s", &message(&topic, number.to_string(), qos))?;
    }
    stage.see("p", "burst").map(drop)
}

pub(super) fn order_at_0(stage: &mut Stage) -> Played {
    order(stage, 0)
}

pub(super) fn order_at_1(stage: &mut Stage) -> Played {
    order(stage, 1)
}

pub(super) fn order_at_2(stage: &mut Stage) -> Played {
    order(stage, 2)
}

pub(super) fn wildcards(stage: &mut Stage) -> Played {
    let (one, deep) = (stage.name("+/state"), stage.name("deep/#"));
    stage.enter_clean("p")?;
    stage.enter_clean("one")?;
    stage.enter_clean("deep")?;
    stage.subscribe("one", &one, 1)?;
    stage.subscribe("deep", &deep, 1)?;
    for topic in ["a/state", "state", "a/b/state", "a/states", "b/state"] {
        stage.publish("p", &message(&stage.name(topic), topic, 1))?;
    }
    for topic in ["deep", "deepest", "deep/er/still"] {
        stage.publish("p", &message(&stage.name(topic), topic, 1))?;
    }
    for (client, topic) in [("one", "a/state"), ("one", "b/state"), ("deep", "deep"), ("deep", "deep/er/still")] {
        stage.hears(client, &json!({ "topic": stage.name(topic), "payload": hex(topic) }))?;
    }
    stage.tell("one", "unsubscribe", &json!({ "filter": one }))?;
    stage.see("one", "unsubscribed")?;
    stage.publish("p", &message(&stage.name("c/state"), "must not come", 1))?;
    // What comes next is what was asked for next.
    let fence = stage.name("fence");
    stage.subscribe("one", &fence, 1)?;
    stage.publish("p", &message(&fence, "fence", 1))?;
    stage.hears("one", &message(&fence, "fence", 1)).map(drop)
}

pub(super) fn clean_close(stage: &mut Stage) -> Played {
    let topic = stage.name("will");
    stage.enter_clean("w")?;
    stage.subscribe("w", &topic, 1)?;
    stage.enter("c", &json!({ "will": message(&topic, "must not come", 1) }))?;
    stage.subscribe("c", &stage.name("own"), 1)?;
    stage.leave("c")?;
    stage.enter_clean("p")?;
    stage.publish("p", &message(&topic, "fence", 1))?;
    stage.hears("w", &message(&topic, "fence", 1)).map(drop)
}

pub(super) fn shared(stage: &mut Stage) -> Played {
    const MESSAGES: usize = 20;
    let topic = stage.name("shared");
    let filter = format!("$share/group/{topic}");
    for member in ["a", "b"] {
        stage.enter_clean(member)?;
        stage.subscribe(member, &filter, 1)?;
    }
    stage.enter_clean("p")?;
    let numbers: Vec<String> = (0..MESSAGES).map(|number| hex(number.to_string())).collect();
    for number in 0..MESSAGES {
        stage.publish("p", &message(&topic, number.to_string(), 1))?;
    }
    // Everything comes once, and each member has a part, in order.
    let mut heard = [Vec::new(), Vec::new()];
    for _ in 0..MESSAGES {
        let got = stage.see_of(&["a", "b"], "message")?;
        let text = got["payload"].as_str().unwrap_or_default();
        heard[usize::from(got["client"] == "b")].push(numbers.iter().position(|number| number == text));
    }
    let all: BTreeSet<_> = heard.iter().flatten().flatten().collect();
    if all.len() != MESSAGES || heard.iter().any(|part| part.is_empty() || !part.is_sorted()) {
        return failed(format!("the members heard {heard:?}"));
    }
    Ok(())
}

pub(super) fn refused(stage: &mut Stage) -> Played {
    const NOT_AUTHORIZED: u64 = 0x87;
    let five = stage.version() == Version::V5;
    let denied = format!("{DENIED}/{}", stage.name("x"));
    let allowed = stage.name("allowed");
    // By itself: a refused filter ends some programs.
    stage.enter_clean("s")?;
    let told = stage.subscribe_code("s", &denied, 1, &json!({}))?;
    let expected = if five { NOT_AUTHORIZED } else { 0x80 };
    if told != expected {
        return failed(format!("SUBACK has {told:#04x}, not {expected:#04x}"));
    }
    stage.enter_clean("p")?;
    let told = stage.publish_code("p", &message(&denied, "x", 1))?;
    let expected = if five { NOT_AUTHORIZED } else { 0 };
    if told != expected {
        return failed(format!("PUBACK has {told:#04x}, not {expected:#04x}"));
    }
    // The connection is still good.
    stage.enter_clean("t")?;
    stage.subscribe("t", &allowed, 1)?;
    stage.publish("p", &message(&allowed, "after", 1))?;
    stage.hears("t", &message(&allowed, "after", 1)).map(drop)
}
