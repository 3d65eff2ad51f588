//! Who is let in as whom, who is not, and which plugin said so.

use super::{Stage, Trouble, shown};
use crate::broker::Event;
use crate::device::{self, DeviceError};
use crate::dial::{self, DialError, Trust, Tunnel};
use crate::pki::{DEVICES, Device, NAMELESS, named};
use crate::screen::Table;

/// What the log calls a connection of no tenant.
const GLOBAL: &str = "(global)";

pub(super) async fn show_admitted(stage: &mut Stage<'_>) -> Result<Vec<(Device, device::Device)>, Trouble> {
    stage.heading("2. The certificate says who a device is: no user name and no password was sent");
    let mut table = Table::new(["the certificate says", "namespace", "user name", "client id", "decided by"]);
    let mut connected = Vec::new();
    let mut trouble = None;
    for who in DEVICES {
        match admit(stage, &who).await {
            Ok((client, event)) => {
                let cells = [
                    who.field(),
                    shown(&event, "namespace"),
                    shown(&event, "username"),
                    shown(&event, "client_id"),
                    deciders(&event),
                ];
                if is_expected(&who, &event) {
                    table.right(cells);
                } else {
                    table.wrong(cells);
                    trouble.get_or_insert(Trouble::Otherwise(format!("{} was taken for another", who.label())));
                }
                connected.push((who, client));
            }
            Err(error) => {
                table.wrong([who.field(), error.to_string(), "–".into(), "–".into(), "–".into()]);
                trouble.get_or_insert(Trouble::Otherwise(format!("{}: {error}", who.label())));
            }
        }
    }
    print!("{}", table.render(stage.colours));
    trouble.map_or(Ok(connected), Err)
}

async fn admit(stage: &mut Stage<'_>, who: &Device) -> Result<(device::Device, Event), Trouble> {
    let config = stage.client_config(Trust::Name, Some(who))?;
    let tcp = dial::connect(stage.address).await?;
    let peer = tcp.local_addr()?;
    let tls = dial::handshake(tcp, Some(who.server_name), config).await?;
    match device::Device::connect(Tunnel::open(tls)?, peer, who.name).await {
        Ok(client) => {
            let event = stage.decision_on(peer).await?;
            Ok((client, event))
        }
        // The log knows better than the client why it was turned away.
        Err(error) => match stage.decision_on(peer).await {
            Ok(event) => Err(Trouble::Otherwise(format!("{error}; the broker says: {}", event.readable()))),
            Err(_) => Err(error.into()),
        },
    }
}

fn is_expected(who: &Device, event: &Event) -> bool {
    let namespace = if who.owner == "global" { GLOBAL } else { who.owner };
    event.message == "admitted"
        && event.field("namespace").as_deref() == Some(namespace)
        && event.field("username").as_deref() == Some(who.name)
        && event.field("client_id").as_deref() == Some(who.name)
}

/// The plugins that decided, in the order they were asked.
fn deciders(event: &Event) -> String {
    let mut names: Vec<String> = Vec::new();
    for field in ["namespace_by", "bundle_by", "identity_by"] {
        if let Some(name) = event.field(field)
            && !names.contains(&name)
        {
            names.push(name);
        }
    }
    if names.is_empty() { "–".to_owned() } else { names.join(", ") }
}

pub(super) async fn show_refused(stage: &mut Stage<'_>) -> Result<(), Trouble> {
    stage.heading("3. The gate stays shut: refused, and why");
    let stranger = named("globex/meter-3").expect("the set has this device");
    let attempts = [
        ("acme's CA, but names nobody", NAMELESS),
        ("globex's device at acme's name", stranger.asking_for(NAMELESS.server_name)),
    ];
    let mut table = Table::new(["who", "refused at", "why", "by", "in the log"]);
    let mut trouble = None;
    for (words, who) in attempts {
        let event = turn_away(stage, &who).await?;
        let cells = [
            words.to_owned(),
            shown(&event, "at"),
            shown(&event, "why"),
            event.field("by").unwrap_or_else(|| "the broker".to_owned()),
            shown(&event, "detail"),
        ];
        if event.message == "refused" {
            table.right(cells);
        } else {
            table.wrong(cells);
            trouble.get_or_insert(Trouble::Otherwise(format!("let in: {words}")));
        }
    }
    print!("{}", table.render(stage.colours));
    trouble.map_or(Ok(()), Err)
}

/// Tries to get in, and returns what the broker decided. Where the client notices its refusal depends on
/// the version of TLS, so all three places are right.
async fn turn_away(stage: &mut Stage<'_>, who: &Device) -> Result<Event, Trouble> {
    let config = stage.client_config(Trust::Name, Some(who))?;
    let tcp = dial::connect(stage.address).await?;
    let peer = tcp.local_addr()?;
    match dial::handshake(tcp, Some(who.server_name), config).await {
        Ok(tls) => match device::Device::connect(Tunnel::open(tls)?, peer, who.name).await {
            Ok(_) | Err(DeviceError::Ended(_)) => {}
            Err(other) => return Err(other.into()),
        },
        Err(DialError::Handshake(_)) => {}
        Err(other) => return Err(other.into()),
    }
    stage.decision_on(peer).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(fields: &str) -> Event {
        Event::parse(&format!(r#"{{"level":"INFO","message":"admitted",{fields}}}"#)).unwrap()
    }

    #[test]
    fn a_device_in_another_namespace_or_under_another_name_is_not_what_was_expected() {
        let sensor = named("acme/sensor-1").unwrap();
        let right = r#""namespace":"acme","username":"sensor-1","client_id":"sensor-1""#;
        assert!(is_expected(&sensor, &admitted(right)));
        for wrong in [right.replace("acme", "globex"), right.replace("sensor-1", "sensor-2")] {
            assert!(!is_expected(&sensor, &admitted(&wrong)), "{wrong}");
        }
        let console = named("global/console").unwrap();
        let global = r#""namespace":"(global)","username":"console","client_id":"console""#;
        assert!(is_expected(&console, &admitted(global)));
    }

    #[test]
    fn each_plugin_is_named_once_in_the_order_it_was_asked() {
        let event = admitted(r#""namespace_by":"all","bundle_by":"sni","identity_by":"all""#);
        assert_eq!(deciders(&event), "all, sni");
        assert_eq!(deciders(&admitted(r#""connection":1"#)), "–");
    }
}
