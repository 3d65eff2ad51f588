//! A responder (RFC 6960) whose answers `openssl ocsp` makes, and which is told how to behave. OpenSSL's own server listens
//! on all addresses of the machine, and always behaves.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::ExtendedKeyUsagePurpose;
use tempfile::TempDir;

use crate::pki::{self, Authority, Credentials};
use crate::programs;
use crate::raw::ANSWER_WITHIN;

/// How a responder behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Manner {
    /// It answers for so many minutes.
    Good(u32),
    /// It answers with somebody's signature who may not.
    Stranger,
    /// It answers by a responder that the authority made one.
    Delegate,
    /// It answers about another certificate.
    Other,
    /// It closes the connection.
    Down,
    /// It says nothing.
    Silent,
    /// These bytes are the answer, whatever was asked.
    Bytes(Vec<u8>),
    /// HTTP says no.
    Status(u16),
}

/// A responder. Dropped, it is gone.
pub struct Responder {
    /// Where.
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    dir: TempDir,
    /// By the path that is asked; what is not here is good.
    manners: Mutex<BTreeMap<String, Manner>>,
    asked: Mutex<BTreeMap<String, usize>>,
    /// Those who are told nothing.
    silenced: Mutex<Vec<TcpStream>>,
    over: AtomicBool,
}

impl Responder {
    /// Answers for this authority, which has issued nothing yet.
    pub fn start(authority: &Authority) -> Self {
        let dir = tempfile::Builder::new().prefix("postern-ocsp-").tempdir().unwrap();
        let at = dir.path();
        std::fs::write(at.join("index.txt"), "").unwrap();
        std::fs::write(at.join("ca.pem"), authority.pem()).unwrap();
        std::fs::write(at.join("ca.key"), authority.key_pem()).unwrap();
        let mut delegate = pki::device("Responder");
        delegate.extended_key_usages = vec![ExtendedKeyUsagePurpose::OcspSigning];
        authority.sign(&delegate).write(at, "delegate");
        authority.device("stranger").write(at, "stranger");
        // A certificate about which nobody asks.
        authority.device("other").write(at, "other");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            dir,
            manners: Mutex::default(),
            asked: Mutex::default(),
            silenced: Mutex::default(),
            over: AtomicBool::new(false),
        });
        let own = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (false, Ok(stream)) = (own.over.load(Ordering::Relaxed), stream) else { return };
                let own = Arc::clone(&own);
                std::thread::spawn(move || own.answer(stream));
            }
        });
        Self { address, shared }
    }

    /// The authority has issued this certificate.
    pub fn issue(&self, one: &Credentials) {
        self.index(one, "V\t490101000000Z\t");
    }

    /// The authority has issued this certificate and revoked it.
    pub fn revoke(&self, one: &Credentials) {
        self.index(one, "R\t490101000000Z\t260101000000Z");
    }

    fn index(&self, one: &Credentials, words: &str) {
        let (path, _) = one.write(self.shared.dir.path(), "one");
        let mut index = OpenOptions::new().append(true).open(self.shared.path("index.txt")).unwrap();
        let serial = serial(&path);
        // OpenSSL wants names that differ.
        writeln!(index, "{words}\t{serial}\tunknown\t/CN={serial}").unwrap();
    }

    /// The address to ask at, where it behaves as [`Responder::behave`] says for this path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// From now on.
    pub fn behave(&self, path: &str, manner: Manner) {
        self.shared.manners.lock().unwrap().insert(format!("/{path}"), manner);
    }

    /// How often it was asked at this path.
    pub fn asked(&self, path: &str) -> usize {
        self.shared.asked.lock().unwrap().get(&format!("/{path}")).copied().unwrap_or(0)
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        self.shared.silenced.lock().unwrap().clear();
        // Wakes the thread that accepts; if it has ended already, nobody minds.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
    }
}

impl Shared {
    fn answer(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream);
        reader.get_ref().set_read_timeout(Some(ANSWER_WITHIN)).unwrap();
        let Some((path, request)) = read_request(&mut reader) else { return };
        *self.asked.lock().unwrap().entry(path.clone()).or_default() += 1;
        let manner = self.manners.lock().unwrap().get(&path).cloned().unwrap_or(Manner::Good(60));
        let stream = reader.into_inner();
        match manner {
            Manner::Down => {}
            Manner::Silent => self.silenced.lock().unwrap().push(stream),
            Manner::Status(status) => send(stream, status, b"<html>no</html>"),
            Manner::Bytes(bytes) => send(stream, 200, &bytes),
            Manner::Good(minutes) => send(stream, 200, &self.respond(&request, "ca", minutes)),
            Manner::Stranger => send(stream, 200, &self.respond(&request, "stranger", 60)),
            Manner::Delegate => send(stream, 200, &self.respond(&request, "delegate", 60)),
            Manner::Other => {
                let [ca, other] = ["ca.pem", "other.pem"].map(|name| self.path(name));
                let asking = ["ocsp", "-sha1", "-no_nonce", "-issuer", &ca, "-cert", &other, "-reqout"];
                let request = self.through_file(&[], |out| openssl(&[&asking[..], &[out]].concat()));
                send(stream, 200, &self.respond(&request, "ca", 60));
            }
        }
    }

    /// OpenSSL's answer.
    fn respond(&self, request: &[u8], signer: &str, minutes: u32) -> Vec<u8> {
        let [index, ca] = ["index.txt", "ca.pem"].map(|name| self.path(name));
        let [cert, key] = ["pem", "key"].map(|end| self.path(&format!("{signer}.{end}")));
        let minutes = minutes.to_string();
        let fixed = ["ocsp", "-index", &index, "-CA", &ca, "-rsigner", &cert, "-rkey", &key, "-nmin", &minutes];
        self.through_file(request, |file| openssl(&[&fixed[..], &["-reqin", file, "-respout", file]].concat()))
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn through_file(&self, before: &[u8], work: impl FnOnce(&str)) -> Vec<u8> {
        let file = tempfile::NamedTempFile::new_in(self.dir.path()).unwrap();
        std::fs::write(file.path(), before).unwrap();
        work(&file.path().display().to_string());
        std::fs::read(file.path()).unwrap()
    }
}

fn openssl(arguments: &[&str]) {
    programs::run("openssl", arguments, b"").succeeded();
}

/// A certificate's serial number in hexadecimal, as OpenSSL's index has it.
fn serial(path: &Path) -> String {
    let arguments = ["x509", "-noout", "-serial", "-in", path.to_str().unwrap()];
    let text = programs::run("openssl", &arguments, b"").succeeded();
    text.trim().split_once('=').unwrap().1.to_owned()
}

/// The path and the body of a POST.
fn read_request(reader: &mut BufReader<TcpStream>) -> Option<(String, Vec<u8>)> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
        if line.trim().is_empty() {
            break;
        }
        lines.push(line.to_lowercase());
    }
    assert!(lines.iter().any(|line| line.trim() == "content-type: application/ocsp-request"), "{lines:?}");
    let length = lines.iter().find_map(|line| line.strip_prefix("content-length: "))?.trim().parse().ok()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((lines[0].split(' ').nth(1)?.to_owned(), body))
}

fn send(mut stream: TcpStream, status: u16, body: &[u8]) {
    let head = format!(
        "HTTP/1.1 {status} Said\r\nContent-Type: application/ocsp-response\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    // Whoever asked may have had enough.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
}
