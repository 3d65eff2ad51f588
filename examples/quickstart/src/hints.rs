//! Lines to copy into another terminal.

use std::net::SocketAddr;

use crate::pki::{Device, Set, named};

/// The lines, ready to print. `hosts` is the text of `/etc/hosts`: MQTT clients take the server name from
/// the host they connect to, so the tenants' names must resolve.
pub fn lines(set: &Set, address: SocketAddr, hosts: &str) -> String {
    let get = |label| named(label).expect("the set has this device");
    let (console, lamp) = (get("global/console"), get("global/lamp"));
    let (gateway, sensor) = (get("acme/gateway-7"), get("acme/sensor-1"));
    let line = |program: &str, who: &Device, what: &str| mosquitto(set, address, program, who, what);
    let unknown = if resolves(hosts, gateway.server_name) {
        String::new()
    } else {
        format!(
            "# (mosquitto asks for the name it connects to; make it known once:\n#  \
             echo '{} {}' | sudo tee -a /etc/hosts)\n",
            address.ip(),
            gateway.server_name
        )
    };
    [
        "# Subscribe, and publish from another terminal, both in the repository's directory\n".to_owned(),
        line("mosquitto_sub", &console, "-t 'demo/#' -v"),
        line("mosquitto_pub", &lamp, "-t demo/hello -m hello"),
        "# The same in the namespace acme\n".to_owned(),
        unknown,
        line("mosquitto_sub", &gateway, "-t 'demo/#' -v"),
        line("mosquitto_pub", &sensor, "-t demo/hello -m hello"),
        "# Look at a certificate\n".to_owned(),
        openssl(set, address, &gateway),
    ]
    .concat()
}

fn mosquitto(set: &Set, address: SocketAddr, program: &str, who: &Device, what: &str) -> String {
    format!(
        "{program} -h {} -p {} --cafile {} \\\n  --cert {} --key {} \\\n  -i {} {what}\n",
        who.server_name,
        address.port(),
        quoted(&set.server_ca().display().to_string()),
        quoted(&set.certificate_of(who).display().to_string()),
        quoted(&set.key_of(who).display().to_string()),
        who.name,
    )
}

fn openssl(set: &Set, address: SocketAddr, who: &Device) -> String {
    format!(
        "openssl s_client -connect {address} -servername {} -CAfile {} \\\n  -cert {} -key {} -brief </dev/null\n",
        who.server_name,
        quoted(&set.server_ca().display().to_string()),
        quoted(&set.certificate_of(who).display().to_string()),
        quoted(&set.key_of(who).display().to_string()),
    )
}

/// For a POSIX shell.
fn quoted(text: &str) -> String {
    if text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"./_-".contains(&byte)) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// Whether `/etc/hosts` names it. No resolver is asked: the name could be somebody's.
fn resolves(hosts: &str, name: &str) -> bool {
    hosts
        .lines()
        .filter_map(|line| line.split('#').next())
        .any(|line| line.split_whitespace().skip(1).any(|entry| entry.eq_ignore_ascii_case(name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki;

    fn text(hosts: &str) -> String {
        let directory = tempfile::tempdir().unwrap();
        let set = pki::ensure(directory.path(), time::OffsetDateTime::now_utc()).unwrap();
        lines(&set, "127.0.0.1:18883".parse().unwrap(), hosts)
    }

    #[test]
    fn the_lines_name_the_port_in_use_and_files_that_exist() {
        let directory = tempfile::tempdir().unwrap();
        let set = pki::ensure(directory.path(), time::OffsetDateTime::now_utc()).unwrap();
        let text = lines(&set, "127.0.0.1:18883".parse().unwrap(), "");
        assert!(text.contains("mosquitto_sub -h localhost -p 18883 "), "{text}");
        assert!(text.contains("openssl s_client -connect 127.0.0.1:18883 -servername mqtt.acme.example.org"), "{text}");
        let root = directory.path().display().to_string();
        let files: Vec<&str> = text.split_whitespace().filter(|word| word.starts_with(&root)).collect();
        assert!(files.len() >= 14, "{text}");
        for file in files {
            assert!(std::path::Path::new(file).exists(), "{file}");
        }
    }

    #[test]
    fn a_name_is_to_be_made_known_only_where_it_is_not() {
        assert!(text("127.0.0.1 localhost # mqtt.acme.example.org\n").contains("tee -a /etc/hosts"));
        assert!(!text("127.0.0.1 localhost MQTT.acme.example.org\n").contains("/etc/hosts"));
    }

    #[test]
    fn a_path_with_blanks_or_quotes_stays_one_word() {
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(".quickstart/ca.pem"), ".quickstart/ca.pem");
    }
}
