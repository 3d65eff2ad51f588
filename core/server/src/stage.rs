//! From a configuration to listeners that are ready to serve: reads certificates, loads plugins, checks
//! that they fit together. All that may fail happens here, before a port is opened; `postern check` is
//! this and nothing more.

mod bundles;
mod limits;
mod plain;
mod plugins;
mod renewal;
pub(crate) mod stamps;
mod stapling;
mod users;

use std::sync::Arc;
use std::time::Duration;

use postern_config::{CertSource, Config, Listener, Problem, RevokedWill, SessionTickets, SysTopics, Tls};
use postern_identity::{AccessRules, BundleDirectory, Gate, Namespace};
use postern_mqtt::Limits;
use postern_plugin::{Chain, Host, Plugin};
use postern_tls::{ClientAuth, ClientPath, Keyring, KeyringEntry, Resumption, ServerConfigs, TlsPolicy, Versions};

use crate::authn::{Authn, Passwords, Scram};
use crate::drive::mountpoint::Mountpoint;
use crate::drive::outbox::Will;
use crate::durability::Durability;
use crate::policy::{Decisions, Entrance, ListenerPolicy, TlsGate, client_auth};
use crate::revocation::{Lists, Opened};
use crate::tenants::TenantPolicies;
use bundles::{Bundles, Found, Memory};
pub(crate) use bundles::{read_file, shown};
pub(crate) use limits::of_tenants as tenants_of;
use plugins::Plugins;
pub(crate) use renewal::Renewal;
use stamps::Stamps;
use stapling::Subjects;

/// The plugins of one handshake together, unless single ones were given longer. Waiting for a processor
/// counts; what they may compute is bounded call by call, by the plugin host.
const GATE_BUDGET: Duration = Duration::from_millis(500);

/// What is ready to be opened.
pub struct Staged {
    /// The name of this node.
    pub node: String,
    /// What each namespace is told of itself.
    pub sys_topics: SysTopics,
    /// In the order of the configuration.
    pub listeners: Vec<ListenerPolicy>,
    /// Limits of tenants.
    pub tenants: TenantPolicies,
    /// What outlives the process.
    pub durability: Durability,
    /// What the operator should know; none of it stops the broker.
    pub warnings: Vec<Problem>,
}

/// Which listeners are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// All of them, for a check.
    All,
    /// Those that will be opened.
    Enabled,
}

/// Stages every listener and collects every problem.
pub async fn stage(config: &Config, host: &Host, which: Which, now_unix_s: i64) -> Result<Staged, Vec<Problem>> {
    Stager::new(host.clone()).stage(config, which, now_unix_s, &[]).await
}

/// Stages, and remembers what it read, so that what did not change is not made anew when something else does.
pub struct Stager {
    host: Host,
    memory: Memory,
}

impl Stager {
    /// Remembers nothing.
    pub fn new(host: Host) -> Self {
        Self { host, memory: Memory::default() }
    }

    /// The files that the bundles of the last time were read from, as they were before.
    pub(crate) fn read(&self) -> &Stamps {
        &self.memory.read
    }

    /// Stages every listener and collects every problem. What `serving` has made for bundles that are the same is taken
    /// over, and plugins of theirs count on.
    pub async fn stage(
        &mut self,
        config: &Config,
        which: Which,
        now_unix_s: i64,
        serving: &[Arc<ListenerPolicy>],
    ) -> Result<Staged, Vec<Problem>> {
        let (staged, found) = stage_all(config, &self.host, which, now_unix_s, (&self.memory, serving)).await?;
        self.memory = found.memory;
        Ok(staged)
    }
}

async fn stage_all(
    config: &Config,
    host: &Host,
    which: Which,
    now_unix_s: i64,
    (before, serving): (&Memory, &[Arc<ListenerPolicy>]),
) -> Result<(Staged, Found), Vec<Problem>> {
    let mut bundles = Bundles::new(&config.node.data_dir, now_unix_s, before, None);
    let mut lists = Opened::new(config.crl_cache, now_unix_s, serving);
    let mut problems = Vec::new();
    let mut warnings = Vec::new();
    let mut listeners = Vec::new();
    let passwords = users::load(&config.authentication.passwords, &mut warnings).unwrap_or_else(|found| {
        problems.extend(found);
        None
    });
    let scram = users::load_scram(config.authentication.scram.as_ref(), &mut warnings).unwrap_or_else(|found| {
        problems.extend(found);
        None
    });
    let mut stapled = Subjects::default();
    let doors = Doors {
        passwords: passwords.map(Arc::new),
        scram: scram.map(Arc::new),
        access: config.authorization.clone().map(Arc::new),
    };
    for listener in config.listeners.iter().filter(|l| which == Which::All || l.enable) {
        let before = serving.iter().find(|policy| policy.id == listener.id).map(Arc::as_ref);
        let place = Place { config, host, doors: &doors, before };
        match stage_listener(listener, &place, (&mut bundles, &mut lists, &mut stapled), &mut warnings).await {
            Ok(policy) => listeners.push(policy),
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() {
        let mut found = bundles.into_found();
        warnings.append(&mut found.warnings);
        let (node, sys_topics) = (config.node.name.clone(), config.sys_topics);
        let tenants = limits::of_tenants(config);
        let durability = Durability::of(config);
        Ok((Staged { node, sys_topics, listeners, tenants, durability, warnings }, found))
    } else {
        Err(problems)
    }
}

/// What all listeners have in common.
struct Doors {
    passwords: Option<Arc<Passwords>>,
    scram: Option<Arc<Scram>>,
    access: Option<Arc<AccessRules>>,
}

/// What a listener is staged in.
#[derive(Clone, Copy)]
struct Place<'a> {
    config: &'a Config,
    host: &'a Host,
    doors: &'a Doors,
    /// What it serves by now.
    before: Option<&'a ListenerPolicy>,
}

impl<'a> Place<'a> {
    fn plugins_before(&self) -> &'a [Plugin] {
        self.before.map_or(&[], ListenerPolicy::plugins)
    }
}

async fn stage_listener(
    listener: &Listener,
    place: &Place<'_>,
    read: (&mut Bundles<'_>, &mut Opened, &mut Subjects),
    warnings: &mut Vec<Problem>,
) -> Result<ListenerPolicy, Vec<Problem>> {
    let &Place { config, host, doors, .. } = place;
    let entrance = match &listener.tls {
        Some(tls) => Entrance::Tls(stage_tls(listener, tls, place, read, warnings).await?),
        None => plain::stage(listener, config, host, place.plugins_before(), warnings).await?,
    };
    let authn = Authn::new(listener.enable_authn, doors.passwords.as_ref(), doors.scram.as_ref());
    Ok(ListenerPolicy {
        id: listener.id.clone(),
        bind: listener.bind.value,
        access_rules: listener.access_rules.clone(),
        proxy: listener.proxy_protocol.clone(),
        tcp: listener.tcp_options,
        max_conn_rate: listener.max_conn_rate,
        max_conn_burst: listener.max_conn_burst,
        publish_rates: listener.publish_rates,
        max_connections: listener.max_connections.unwrap_or(usize::MAX),
        max_unauthenticated_per_address: listener.max_unauthenticated_per_address,
        mountpoint: Mountpoint::new(&listener.mountpoint),
        access: doors.access.clone(),
        namespaces: listener.namespaces.clone(),
        entrance,
        connect_wait: config.mqtt.idle_timeout,
        username_as_client_id: config.mqtt.use_username_as_clientid,
        revoked_will: match config.mqtt.revoked_will {
            RevokedWill::Publish => Will::Publish,
            RevokedWill::Discard => Will::Discard,
        },
        link_limits: Limits { authentication_methods: authn.methods(), ..limits::of_link(&config.mqtt) },
        authn,
        websocket: listener.websocket.clone(),
    })
}

async fn stage_tls(
    listener: &Listener,
    tls: &Tls,
    place: &Place<'_>,
    (bundles, opened, stapled): (&mut Bundles<'_>, &mut Opened, &mut Subjects),
    warnings: &mut Vec<Problem>,
) -> Result<TlsGate, Vec<Problem>> {
    let &Place { config, host, before, .. } = place;
    let auth = client_auth(tls.client_auth);
    let keyring = keyring(listener, tls, bundles.of_listener(listener, tls, auth, None)?)?;
    let directory: Arc<dyn BundleDirectory> = keyring.clone();
    let plugins = plugins::load(listener, config, host, &directory, place.plugins_before()).await?;
    if !config.authenticates(listener) {
        warnings.extend(plugins.unmapped(listener, auth != ClientAuth::Off));
    }
    let policy = TlsPolicy {
        versions: Versions { tls12: tls.versions.tls12, tls13: tls.versions.tls13 },
        client_auth: auth,
        alpn: vec![alpn(listener)],
        ciphers: tls.negotiation.ciphers.clone(),
        honor_cipher_order: tls.negotiation.honor_cipher_order,
        groups: tls.negotiation.groups.clone(),
        client_path: ClientPath {
            depth: tls.client_path.depth,
            anchors: bundles::anchors(tls),
            usages: tls.client_path.usages.clone(),
        },
        resumption: resumption(tls, config),
        stapling: tls.stapling.is_some(),
    };
    let before = before.and_then(ListenerPolicy::tls);
    let lists = match &tls.crl {
        Some(crl) => {
            let handle = before.and_then(|tls| tls.configs.revocation());
            Some(opened.of_listener(listener, crl, (&keyring, handle), warnings).await?)
        }
        None => None,
    };
    let configs = configs(policy, before.map(|tls| &tls.configs), lists.as_deref());
    check_ciphers(listener, &configs, &keyring)?;
    let stapled_before = before.map_or(&[][..], |tls| &tls.stapling);
    bundles.look_after_issuers(tls);
    let stapling = stapling::of_listener(listener, tls, &keyring, (stapled_before, stapled)).checked(warnings)?;
    Ok(TlsGate {
        decisions: decisions(listener, plugins, own_namespace(&keyring), directory),
        keyring,
        configs,
        lists,
        client_auth: auth,
        unknown_sni: tls.unknown_sni,
        handshake_timeout: tls.handshake_timeout,
        stapling,
    })
}

/// A bundle whose key fits none of the suites could never answer.
fn check_ciphers(listener: &Listener, configs: &ServerConfigs, keyring: &Keyring) -> Result<(), Vec<Problem>> {
    let misfits = keyring.bundles().filter_map(|bundle| configs.check_ciphers(bundle).err());
    let problems: Vec<Problem> = misfits
        .map(|error| Problem {
            path: format!("listeners.{}.{}.ssl_options.ciphers", listener.kind.word(), listener.name),
            at: listener.at.clone(),
            text: error.to_string(),
            hint: None,
        })
        .collect();
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// What was made under the same settings stays good for the bundles that are the same.
fn configs(policy: TlsPolicy, before: Option<&Arc<ServerConfigs>>, lists: Option<&Lists>) -> Arc<ServerConfigs> {
    let handle = lists.map(Lists::handle);
    let judges_the_same = |configs: &&Arc<ServerConfigs>| match (configs.revocation(), handle) {
        (None, None) => true,
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        _ => false,
    };
    let same = before.filter(|configs| *configs.policy() == policy).filter(judges_the_same);
    same.cloned().unwrap_or_else(|| {
        let configs = ServerConfigs::new(policy);
        Arc::new(match handle {
            Some(handle) => configs.checking(Arc::clone(handle)),
            None => configs,
        })
    })
}

fn keyring(listener: &Listener, tls: &Tls, entries: Vec<KeyringEntry>) -> Result<Arc<Keyring>, Vec<Problem>> {
    let keyring = Keyring::build(entries, listener.namespaces.clone());
    keyring.map(Arc::new).map_err(|error| vec![bundles::misfit(&error, listener, tls)])
}

/// The plugins of a listener, ready to be asked.
fn decisions(
    listener: &Listener,
    plugins: Plugins,
    namespace: Namespace,
    directory: Arc<dyn BundleDirectory>,
) -> Decisions {
    let budget = GATE_BUDGET.max(plugins.longest_timeouts);
    let gate: Arc<dyn Gate> = Arc::new(Chain::new(listener.id.clone(), plugins.loaded.clone(), directory));
    Decisions { gate, plugins: plugins.loaded, budget, namespace }
}

/// The protocol that a listener's clients may name in their `ClientHello` (RFC 7301): on `wss` the TLS layer carries HTTP.
fn alpn(listener: &Listener) -> Vec<u8> {
    if listener.kind.is_websocket() { b"http/1.1".to_vec() } else { b"mqtt".to_vec() }
}

fn resumption(tls: &Tls, config: &Config) -> Resumption {
    let SessionTickets { amount, lifetime } = config.node.session_tickets;
    let tickets = if tls.resumption.tickets { amount } else { 0 };
    Resumption { tickets, session_ids: tls.resumption.session_ids, lifetime }
}

/// Whose the listener is.
fn own_namespace(keyring: &Keyring) -> Namespace {
    let mut owners = keyring.bundles().map(|bundle| &bundle.name().namespace);
    match owners.next() {
        Some(first) if owners.all(|other| other == first) => first.clone(),
        _ => Namespace::Global,
    }
}

/// Whether the certificate source is one that the standard plugins choose from.
fn is_managed(tls: &Tls) -> bool {
    matches!(tls.source, CertSource::Managed(_))
}
