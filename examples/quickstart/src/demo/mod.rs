//! The demonstration: what the gate does, shown through real sockets and checked against the broker's log.

mod admission;
mod certificates;
mod messages;

use std::net::SocketAddr;
use std::time::Duration;

use crate::broker::{Broker, BrokerError, Event};
use crate::device::DeviceError;
use crate::dial::{self, Credentials, DialError, Trust};
use crate::pki::{Device, PkiError, Set};
use crate::screen::Colours;

/// The listener that `quickstart.conf` opens.
pub const LISTENER: &str = "ssl:default";

/// From the end of a handshake to the line in the log; milliseconds on a machine that is not busy.
const DECIDED_WITHIN: Duration = Duration::from_secs(10);

/// The step that failed, and why.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {why}")]
pub struct Failed {
    /// Which step.
    pub step: &'static str,
    /// Why.
    pub why: String,
}

/// Something that a step needed did not work.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error(transparent)]
    Pki(#[from] PkiError),
    #[error("{0}")]
    System(#[from] std::io::Error),
    #[error("{0}")]
    Otherwise(String),
}

impl Trouble {
    fn at(self, step: &'static str) -> Failed {
        Failed { step, why: self.to_string() }
    }
}

/// What the steps share.
#[derive(Debug)]
pub struct Stage<'a> {
    /// The broker under demonstration.
    pub broker: &'a mut Broker,
    /// Its certificates and those of the devices.
    pub set: &'a Set,
    /// Where it listens.
    pub address: SocketAddr,
    /// How to print.
    pub colours: Colours,
}

/// Runs all steps; the first that fails ends it.
pub async fn run(mut stage: Stage<'_>) -> Result<(), Failed> {
    certificates::show(&mut stage).await.map_err(|trouble| trouble.at("certificates by server name"))?;
    let devices = admission::show_admitted(&mut stage).await.map_err(|trouble| trouble.at("devices let in"))?;
    admission::show_refused(&mut stage).await.map_err(|trouble| trouble.at("devices refused"))?;
    messages::show(&stage, devices).await.map_err(|trouble| trouble.at("messages"))
}

impl Stage<'_> {
    fn heading(&self, text: &str) {
        println!("\n{}", self.colours.bold(text));
    }

    fn client_config(&self, trust: Trust, device: Option<&Device>) -> Result<rustls::ClientConfig, Trouble> {
        let path = self.set.server_ca();
        let authority = Set::read_certificates(&path)?
            .into_iter()
            .next()
            .ok_or_else(|| Trouble::Otherwise(format!("{}: no certificate in it", path.display())))?;
        let credentials = device.map(|device| {
            Ok::<_, PkiError>(Credentials {
                chain: Set::read_certificates(&self.set.certificate_of(device))?,
                key: Set::read_key(&self.set.key_of(device))?,
            })
        });
        Ok(dial::client_config(&authority, trust, credentials.transpose()?)?)
    }

    async fn decision_on(&mut self, peer: SocketAddr) -> Result<Event, Trouble> {
        Ok(self.broker.decision_on(peer, DECIDED_WITHIN).await?)
    }
}

/// A field of an event, or a dash.
fn shown(event: &Event, field: &str) -> String {
    event.field(field).map_or_else(|| "–".to_owned(), |text| crate::screen::one_line(&text, 120))
}
