//! Enhanced authentication (4.12): whose turn it is, and by which method.

use std::sync::Arc;

use crate::fault::Fault;
use crate::packet::{Auth, ConnAck};
use crate::reason::ReasonCode;

/// AUTH packets of the client in one exchange. SCRAM takes three at most; this leaves room for others, and none for
/// an exchange that never ends.
pub const AUTH_PACKETS_MAX: u8 = 8;

/// The exchange that a CONNECT with an Authentication Method begins, and those that follow it on the same connection
/// (4.12.1).
#[derive(Debug)]
pub(crate) struct Exchange {
    /// What every AUTH and a CONNACK of success carry (MQTT-4.12.0-5).
    method: Arc<str>,
    turn: Turn,
    /// AUTH packets of the client in this exchange.
    heard: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// The client has said something that waits for its answer.
    Server,
    /// It was asked for more.
    Client,
    /// Nothing is going on: the client may begin anew.
    Nobody,
}

impl Exchange {
    /// Begun by CONNECT.
    pub(crate) fn new(method: Arc<str>) -> Self {
        Self { method, turn: Turn::Server, heard: 0 }
    }

    /// Whether the client was asked for an AUTH.
    pub(crate) fn awaits_client(&self) -> bool {
        self.turn == Turn::Client
    }

    /// What an AUTH of the client may not be. `is_live`: CONNACK was sent.
    pub(crate) fn check(&self, auth: &Auth, is_live: bool) -> Result<(), Fault> {
        // MQTT-4.12.1-1; none at all is a protocol error as well (3.15.2.2.2).
        if auth.method.as_ref() != Some(&self.method) {
            return Err(Fault::OtherAuthenticationMethod);
        }
        match (auth.reason, self.turn) {
            (ReasonCode::CONTINUE_AUTHENTICATION, Turn::Client) if self.heard >= AUTH_PACKETS_MAX => {
                Err(Fault::TooManyAuths)
            }
            (ReasonCode::CONTINUE_AUTHENTICATION, Turn::Client) => Ok(()),
            (ReasonCode::RE_AUTHENTICATE, Turn::Nobody) if is_live => Ok(()),
            _ => Err(Fault::AuthOutOfTurn),
        }
    }

    /// The client's AUTH was taken.
    pub(crate) fn hear(&mut self, auth: &Auth) {
        let is_new = auth.reason == ReasonCode::RE_AUTHENTICATE;
        self.heard = if is_new { 1 } else { self.heard.saturating_add(1) };
        self.turn = Turn::Server;
    }

    /// Whether the server may say this now: more is needed (MQTT-4.12.0-2), or, after CONNACK, it was enough.
    pub(crate) fn may_say(&self, reason: ReasonCode, is_live: bool) -> bool {
        let fits = reason == ReasonCode::CONTINUE_AUTHENTICATION || (is_live && reason == ReasonCode::SUCCESS);
        fits && self.turn == Turn::Server
    }

    /// The server's AUTH or CONNACK was written.
    pub(crate) fn said(&mut self, reason: ReasonCode) {
        let more = reason == ReasonCode::CONTINUE_AUTHENTICATION;
        self.turn = if more { Turn::Client } else { Turn::Nobody };
    }

    /// The AUTH with the method of this connection.
    pub(crate) fn name_in_auth(&self, auth: &Auth) -> Auth {
        Auth { method: Some(Arc::clone(&self.method)), ..auth.clone() }
    }
}

/// The CONNACK with the method of the CONNECT where there was one (MQTT-4.12.0-5), and without any where there was
/// none (MQTT-4.12.0-6). A refusal names it beside data alone, which mean nothing without it.
pub(crate) fn name_in_conn_ack(exchange: Option<&Exchange>, ack: &ConnAck) -> ConnAck {
    let data = ack.authentication_data.clone().filter(|_| exchange.is_some());
    let named = exchange.filter(|_| !ack.reason.is_error() || data.is_some());
    let method = named.map(|exchange| Arc::clone(&exchange.method));
    ConnAck { authentication_method: method, authentication_data: data, ..ack.clone() }
}
