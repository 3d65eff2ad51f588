//! A small HTTP server for what a broker fetches: it answers as it is told, and counts.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::raw::ANSWER_WITHIN;

/// What is answered from now on.
#[derive(Clone)]
pub enum Reply {
    /// This status code and body.
    With(u16, Vec<u8>),
    /// Nothing: the connection stays open.
    Silence,
    /// A header that promises more than comes.
    BrokenOff(Vec<u8>),
}

struct State {
    reply: Mutex<Reply>,
    asked: AtomicUsize,
    ended: AtomicBool,
}

/// Ended when it is dropped.
pub struct HttpServer {
    address: SocketAddr,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

impl HttpServer {
    /// Begins to answer.
    ///
    /// # Panics
    /// Where no port is to be had.
    pub fn start(reply: Reply) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = State { reply: Mutex::new(reply), asked: AtomicUsize::new(0), ended: AtomicBool::new(false) };
        let state = Arc::new(state);
        let own = Arc::clone(&state);
        let thread = std::thread::spawn(move || {
            // Those that are left without an answer.
            let mut silent = Vec::new();
            for socket in listener.incoming() {
                if own.ended.load(Ordering::Acquire) {
                    break;
                }
                let Ok(mut socket) = socket else { continue };
                own.asked.fetch_add(1, Ordering::AcqRel);
                let reply = own.reply.lock().unwrap().clone();
                // A client that goes away early is its own business.
                if !matches!(answer(&mut socket, &reply), Ok(true)) {
                    silent.push(socket);
                }
            }
        });
        Self { address, state, thread: Some(thread) }
    }

    /// The address of something on it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// Answers so from now on.
    pub fn reply(&self, reply: Reply) {
        *self.state.reply.lock().unwrap() = reply;
    }

    /// Connections so far.
    pub fn asked(&self) -> usize {
        self.state.asked.load(Ordering::Acquire)
    }

    /// Waits until it was asked more often than this.
    ///
    /// # Panics
    /// Where that does not happen in time.
    pub fn wait_until_asked(&self, more_than: usize) {
        let end = Instant::now() + ANSWER_WITHIN * 4;
        while self.asked() <= more_than {
            assert!(Instant::now() < end, "asked {} times, more than {more_than} are wanted", self.asked());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::Release);
        // Wakes the thread from its wait for the next connection.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// False where nothing was answered.
fn answer(socket: &mut TcpStream, reply: &Reply) -> std::io::Result<bool> {
    socket.set_read_timeout(Some(ANSWER_WITHIN))?;
    let mut request = BufReader::new(socket.try_clone()?);
    let mut line = String::new();
    while request.read_line(&mut line)? > 2 {
        line.clear();
    }
    let (status, promised, body) = match reply {
        Reply::With(status, body) => (*status, body.len(), body),
        Reply::BrokenOff(body) => (200, body.len() + 1000, body),
        Reply::Silence => return Ok(false),
    };
    write!(socket, "HTTP/1.1 {status} Some Reason\r\nContent-Length: {promised}\r\nConnection: close\r\n\r\n")?;
    socket.write_all(body)?;
    Ok(true)
}
