//! From accept to CONNECT, as a pipe of types: each stage can only be made from the one before, so that
//! no connection gets round one of them.
//!
//! ```text
//! Accepted -> Greeted -> Chosen -> Secured -> Identified -> Carried -> Admitted
//!          hello     choose    handshake  authorize     upgrade    connect
//! ```
//!
//! A connection without TLS enters the pipe at `Identified`: as nobody, or, where a proxy ended TLS whose word the
//! operator takes, as whom the plugins make of that. The upgrade does something on `ws` and `wss` alone.

mod authorize;
mod choose;
mod connect;
mod handshake;
mod hello;
mod plain;
pub(crate) mod proxy;
mod stream;
mod upgrade;
mod websocket;
mod wire;

use std::sync::Arc;
use std::time::{Duration, Instant};

use postern_identity::{Identity, Refusal, Stage, Why};
use tokio::net::TcpStream;

pub(crate) use connect::{Admitted, Client};
pub(crate) use stream::Stream;

use crate::policy::{Entrance, ListenerPolicy, TlsGate};
use crate::report::Story;
use crate::revalidation::Credential;

/// From accept to the first byte of the `ClientHello`.
const FIRST_BYTE_WAIT: Duration = Duration::from_secs(2);

/// A socket that was let in so far.
pub(crate) struct Accepted {
    pub(crate) socket: TcpStream,
    pub(crate) at: Instant,
    pub(crate) policy: Arc<ListenerPolicy>,
    pub(crate) began: Instant,
}

/// Who it is has been settled, one way or the other; the CONNECT is still to come.
pub(crate) struct Identified {
    stream: Stream,
    /// A refusal is told to the client in MQTT's own words, after its CONNECT.
    identity: Result<Option<Identity>, Refusal>,
    /// The common name in the client's verified certificate, if it has just one.
    common_name: Option<String>,
    /// What its stay depends on.
    credential: Credential,
}

/// The whole way in. `story` learns what was decided even where the way ends early.
pub(crate) async fn intake(accepted: Accepted, story: &mut Story) -> Result<Admitted, Refusal> {
    let Accepted { socket, at, policy, began } = accepted;
    let identified = match &policy.entrance {
        Entrance::Open => Identified {
            stream: Stream::Plain(socket),
            identity: Ok(None),
            common_name: None,
            credential: Credential::default(),
        },
        Entrance::Plain(gate) => plain::identify(socket, gate, story).await,
        Entrance::Tls(tls) => secure(socket, at, tls, story).await?,
    };
    let carried = identified.carry(&policy, at, story).await?;
    carried.read_connect(&policy, at, began, story).await
}

async fn secure(socket: TcpStream, at: Instant, tls: &TlsGate, story: &mut Story) -> Result<Identified, Refusal> {
    let deadline = tokio::time::Instant::from_std(at + tls.handshake_timeout);
    let mut budget = Budget(tls.decisions.budget);
    let handshake = async {
        let greeted = hello::read_hello(socket, at, story).await?;
        let chosen = greeted.choose(tls, &mut budget, story).await?;
        chosen.handshake(tls, story).await
    };
    let late =
        || Refusal::new(Stage::Handshake, Why::TimedOut, format!("no handshake within {:?}", tls.handshake_timeout));
    let secured = tokio::time::timeout_at(deadline, handshake).await.unwrap_or_else(|_| Err(late()));
    let secured = secured.inspect_err(|refusal| _ = story.reason.get_or_insert_with(|| refusal.why.into()))?;
    Ok(secured.authorize(tls, &mut budget, story).await)
}

/// The time that the plugins of one handshake have left, all together. Waiting for the peer does not count.
pub(crate) struct Budget(Duration);

impl Budget {
    /// Runs one question within what is left.
    async fn spend<T>(&mut self, at: Stage, question: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
        let began = Instant::now();
        let answer = tokio::time::timeout(self.0, question).await;
        self.0 = self.0.saturating_sub(began.elapsed());
        answer.unwrap_or_else(|_| {
            Err(Refusal::new(at, Why::PluginFailed, "the plugins together took longer than one handshake allows"))
        })
    }
}
