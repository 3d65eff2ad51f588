//! Connections of the management address, and their bounds.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};

/// From a connection's begin, or from the last answer, to the end of a request's header.
const HEADER_WAIT: Duration = Duration::from_secs(5);
/// After this a connection gets no further request.
const CONNECTION_AGE: Duration = Duration::from_mins(1);
/// An answer that is on its way then must have been taken after this; so long does a client that reads nothing hold a place.
const LAST_ANSWER_WAIT: Duration = Duration::from_secs(5);
/// Longest header of a request, and what is read of it at once, in bytes.
const HEADER_BYTES: usize = 16 * 1024;
/// Most fields of a header.
const HEADER_FIELDS: usize = 64;
/// Pause after an accept failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Runs until `stop` ends.
pub(crate) async fn serve(
    listener: std::net::TcpListener,
    routes: Router,
    max_connections: usize,
    mut stop: oneshot::Receiver<()>,
) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "the management address cannot be served"),
    };
    let places = Arc::new(Semaphore::new(max_connections));
    loop {
        let next = async {
            // Who finds no place waits in the kernel's backlog.
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            next = next => next,
            _ = &mut stop => return,
        };
        match accepted {
            Ok((socket, _)) => {
                let routes = routes.clone();
                tokio::spawn(async move {
                    converse(socket, routes).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "the management address cannot accept; trying again");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One connection. How it ends is its client's business alone.
async fn converse(socket: TcpStream, routes: Router) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new());
    http.header_read_timeout(HEADER_WAIT).max_buf_size(HEADER_BYTES).max_headers(HEADER_FIELDS);
    let connection = http.serve_connection(TokioIo::new(socket), TowerToHyperService::new(routes));
    let mut connection = pin!(connection);
    if tokio::time::timeout(CONNECTION_AGE, connection.as_mut()).await.is_err() {
        connection.as_mut().graceful_shutdown();
        let _ = tokio::time::timeout(LAST_ANSWER_WAIT, connection).await;
    }
}
