//! A broker with defaults, for others to look at.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::failure::Failure;

const LISTENERS: [&str; 2] = ["ssl:curve", "wss:rsa"];

const CONFIG: &str = r#"node { name = scan, data_dir = data }
listeners.ssl.curve {
  bind = "127.0.0.1:0", max_unauthenticated_per_address = 10000
  ssl_options { certfile = curve.pem, keyfile = curve.key }
}
listeners.wss.rsa {
  bind = "127.0.0.1:0", max_unauthenticated_per_address = 10000
  ssl_options { certfile = rsa.pem, keyfile = rsa.key }
}
"#;

/// As public CAs write it: a scanner has views on certificates too.
const EXTENSIONS: &str = "basicConstraints=critical,CA:FALSE
subjectAltName=DNS:localhost
extendedKeyUsage=serverAuth
keyUsage=critical,digitalSignature
crlDistributionPoints=URI:http://crl.invalid/scan.crl
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
";

/// A running broker, and where it is. Dropped, it is killed.
pub(super) struct Site {
    dir: PathBuf,
    child: Child,
    /// Names and ports.
    listeners: Vec<(&'static str, u16)>,
}

impl Site {
    /// Makes certificates in the directory, and starts the broker there on free ports.
    pub(super) fn start(dir: &Path, broker: &Path) -> Result<Self, Failure> {
        let failed =
            |error: std::io::Error| Failure::new(format!("{} cannot be written", dir.display())).because(error);
        fs::create_dir_all(dir.join("data")).map_err(failed)?;
        fs::write(dir.join("postern.conf"), CONFIG).map_err(failed)?;
        fs::write(dir.join("extensions"), EXTENSIONS).map_err(failed)?;
        certificates(dir)?;
        let unstarted = |error: std::io::Error| Failure::new("the broker cannot be started").because(error);
        let mut command = Command::new(broker);
        command.args(["serve", "--config", "postern.conf", "--log-format", "json"]).current_dir(dir);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().map_err(unstarted)?;
        let log = child.stderr.take().expect("standard error was asked for as a pipe");
        let mut site = Self { dir: dir.to_owned(), child, listeners: Vec::new() };
        let mut said = String::new();
        let mut lines = BufReader::new(log).lines().map_while(Result::ok);
        for line in lines.by_ref() {
            let fields: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
            let port: Option<u16> = fields["address"].as_str().and_then(|text| text.rsplit_once(':')?.1.parse().ok());
            let listener = LISTENERS.into_iter().find(|name| fields["listener"] == *name);
            if fields["message"] == "listening" {
                site.listeners.extend(listener.zip(port));
            }
            said += &line;
            said.push('\n');
            if fields["message"] == "ready" {
                // A pipe that nobody reads would stop the broker in the end.
                std::thread::spawn(move || lines.for_each(drop));
                return Ok(site);
            }
        }
        Err(Failure::new("the broker did not start").because(said))
    }

    /// Names and ports.
    pub(super) fn listeners(&self) -> impl Iterator<Item = (&'static str, u16)> {
        self.listeners.iter().copied()
    }

    /// The certificate to trust.
    pub(super) fn ca(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// Where a report on this port goes.
    pub(super) fn report(&self, port: u16) -> PathBuf {
        self.dir.join(format!("testssl-{port}.json"))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // Both fail only where the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn certificates(dir: &Path) -> Result<(), Failure> {
    const CURVE: &str = "ec -pkeyopt ec_paramgen_curve:P-256";
    let ca = "-addext keyUsage=critical,keyCertSign,cRLSign -days 90 -keyout ca.key -out ca.pem";
    openssl(dir, &format!("req -x509 -newkey {CURVE} -nodes -subj /CN=Scan {ca}"))?;
    for (name, algorithm) in [("curve", CURVE), ("rsa", "rsa:2048")] {
        openssl(
            dir,
            &format!("req -newkey {algorithm} -nodes -subj /CN=localhost -keyout {name}.key -out {name}.csr"),
        )?;
        let sign = "-CA ca.pem -CAkey ca.key -CAcreateserial -days 90 -extfile extensions";
        openssl(dir, &format!("x509 -req -in {name}.csr {sign} -out {name}.pem"))?;
    }
    Ok(())
}

fn openssl(dir: &Path, line: &str) -> Result<(), Failure> {
    let what = || Failure::new(format!("openssl {line}"));
    let mut command = Command::new("openssl");
    let output = command.args(line.split_whitespace()).current_dir(dir).output();
    let output = output.map_err(|error| what().because(error))?;
    if output.status.success() {
        return Ok(());
    }
    Err(what().because(String::from_utf8_lossy(&output.stderr)))
}
