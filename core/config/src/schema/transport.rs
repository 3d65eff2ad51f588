//! What a listener's connections come by: `websocket`.

use std::time::Duration;

use crate::emqx;
use crate::model::ListenerKind;
use crate::mqtt::Mqtt;
use crate::reader::{Item, Reader, Section, shown};
use crate::transport::{Origins, WebSocket};
use crate::value::Value;

/// As in EMQX.
const MQTT_PATH: &str = "/mqtt";
/// As in EMQX. `mqtt` is the standard's own (MQTT 5.0, section 6).
const SUBPROTOCOLS: &str = "mqtt, mqtt-v3, mqtt-v3.1.1, mqtt-v5";
/// As in EMQX.
const IDLE_TIMEOUT: Duration = Duration::from_hours(2);
/// The shortest and the longest that may be asked for.
const IDLE_RANGE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_hours(24 * 7));
/// A frame is held until it is whole; none needs to be longer than the longest packets.
const MAX_FRAME: u64 = 512 << 20;
/// Room in a frame beside one packet of the largest size.
const FRAME_ROOM: u32 = 64 * 1024;
/// Sub-protocols or origins of one listener.
const MAX_LIST: usize = 64;
/// Longest path, sub-protocol or origin, in bytes: each is compared with a header of at most 8 KiB.
const MAX_TEXT: usize = 1024;

/// `websocket`, with every default filled in, on a listener that speaks it.
pub(super) fn websocket(
    reader: &mut Reader<'_>,
    kind: ListenerKind,
    section: &mut Section<'_>,
    mqtt: &Mqtt,
) -> Option<WebSocket> {
    let item = section.take("websocket");
    if !kind.is_websocket() {
        if let Some(item) = item {
            let text = format!("a `{}` listener speaks no WebSocket", kind.word());
            reader.problem(item.key_at, &item.path, text, Some("remove it, or make it `listeners.ws.…` or `wss`"));
        }
        return None;
    }
    let mut websocket = WebSocket {
        mqtt_path: MQTT_PATH.to_owned(),
        subprotocols: SUBPROTOCOLS.split(", ").map(str::to_owned).collect(),
        subprotocol_required: true,
        max_frame_bytes: mqtt.max_packet_size + FRAME_ROOM,
        idle_timeout: IDLE_TIMEOUT,
        origins: None,
    };
    if let Some(options) = item.and_then(|item| reader.section(&item)) {
        read(reader, options, &mut websocket);
    }
    Some(websocket)
}

fn read(reader: &mut Reader<'_>, mut section: Section<'_>, websocket: &mut WebSocket) {
    if let Some(path) = section.take("mqtt_path").and_then(|item| path(reader, &item)) {
        websocket.mqtt_path = path;
    }
    if let Some(names) = section.take("supported_subprotocols").and_then(|item| subprotocols(reader, &item)) {
        websocket.subprotocols = names;
    }
    if let Some(must) = section.take("fail_if_no_subprotocol").and_then(|item| reader.boolean(&item)) {
        websocket.subprotocol_required = must;
    }
    if let Some(size) = section.take("max_frame_size").and_then(|item| frame_size(reader, &item)) {
        websocket.max_frame_bytes = size;
    }
    let (least, most) = IDLE_RANGE;
    if let Some(idle) = section.take("idle_timeout").and_then(|item| reader.duration(&item, least, most)) {
        websocket.idle_timeout = idle;
    }
    websocket.origins = origins(reader, &mut section);
    reader.finish(&section, emqx::WEBSOCKET);
}

fn path(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<String> {
    let text = reader.text(item)?;
    let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'?' | b'#');
    if !text.starts_with('/') || text.len() > MAX_TEXT || !text.bytes().all(plain) {
        reader.wrong(item, format!("{} is no path of a URL", shown(&text)), Some("write it as `/mqtt`"));
        return None;
    }
    Some(text)
}

fn frame_size(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<u32> {
    if matches!(&item.node.value, Value::Text(text) if text == "infinity") {
        let text = "a frame is held in memory until it is whole, so that it must have a bound";
        reader.wrong(item, text, Some("remove it: the default has room for the longest packet"));
        return None;
    }
    reader.size(item, 1024, MAX_FRAME).map(|size| u32::try_from(size).expect("the range ends within 32 bits"))
}

fn subprotocols(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<Vec<String>> {
    // RFC 6455, section 4.1: the names are tokens.
    let token = |b: u8| b.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&b);
    let names = words(reader, item)?;
    for name in &names {
        if !name.bytes().all(token) {
            reader.wrong(item, format!("{} is no name of a sub-protocol", shown(name)), None);
            return None;
        }
    }
    if names.is_empty() {
        reader.wrong(item, "no sub-protocol is left", Some("MQTT's own is `mqtt`"));
        return None;
    }
    Some(names)
}

/// What may be written as a list or as one text with commas.
fn words(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<Vec<String>> {
    let texts = match &item.node.value {
        Value::List(_) => reader.list(item)?.iter().map(|item| reader.text(item)).collect::<Option<Vec<_>>>()?,
        _ => reader.text(item)?.split(',').map(str::to_owned).collect(),
    };
    let words: Vec<String> =
        texts.iter().map(|text| text.trim()).filter(|text| !text.is_empty()).map(str::to_owned).collect();
    if words.len() > MAX_LIST || words.iter().any(|word| word.len() > MAX_TEXT) {
        reader.wrong(item, format!("at most {MAX_LIST} of at most {MAX_TEXT} bytes each"), None);
        return None;
    }
    Some(words)
}

fn origins(reader: &mut Reader<'_>, section: &mut Section<'_>) -> Option<Origins> {
    let enable = section.take("check_origin_enable").and_then(|item| reader.boolean(&item)).unwrap_or(false);
    let absence = section.take("allow_origin_absence").and_then(|item| reader.boolean(&item)).unwrap_or(true);
    let list = section.take("check_origins");
    let allowed = list.as_ref().and_then(|item| words(reader, item)).unwrap_or_default();
    for origin in &allowed {
        let rest = ["http://", "https://"].into_iter().find_map(|scheme| origin.strip_prefix(scheme));
        let plain = |host: &str| !host.is_empty() && host.bytes().all(|b| b.is_ascii_graphic() && b != b'/');
        if let Some(item) = list.as_ref().filter(|_| !rest.is_some_and(plain)) {
            let hint = "write it as a browser sends it: `https://console.example.org`";
            reader.wrong(item, format!("{} is no origin of a web page", shown(origin)), Some(hint));
        }
    }
    if enable && list.is_none() {
        let text = "is missing: with `check_origin_enable` it says which web pages may connect";
        reader.problem(section.at, &section.inner("check_origins"), text, None);
    }
    let allowed = allowed.iter().map(|origin| origin.to_ascii_lowercase()).collect();
    enable.then_some(Origins { allowed, absence_allowed: absence })
}
