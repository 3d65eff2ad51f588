//! Who may publish and subscribe to what: ordered rules, of which the first that fits decides.
//!
//! [`AccessRules`] are the operator's, with placeholders. At admission they become the [`Acl`] of one client:
//! the rules that concern it, its values filled in. An [`Acl`] never changes, needs no lock, and is asked
//! when a client publishes, when it subscribes, and for each message on its way to it.
//!
//! A rule is about topics as the client sees them, without its listener's mountpoint.
//!
//! A subscription is allowed if a rule allows all that its filter may match; a rule that denies only a part of
//! it is kept at delivery, where the topic is known. In denying rules a leading wildcard matches topics with a
//! leading `$` as well, in allowing ones it does not: `#` denied is everything denied, and `#` allowed is no
//! right to `$SYS`.

use std::net::IpAddr;

use crate::network::Network;
use crate::pattern::{Pattern, TopicTemplate, WildcardInName, covers};

/// What a rule says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Permission {
    /// It may be done.
    Allow,
    /// It may not.
    Deny,
}

/// What happens to a client that does what it may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DenyAction {
    /// It is told, where its version has a word for it, and nothing else happens.
    #[default]
    Ignore,
    /// It is disconnected.
    Disconnect,
}

/// What a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Action {
    /// Publishing.
    Publish,
    /// Subscribing, and receiving what was subscribed to.
    Subscribe,
    /// Both.
    #[default]
    All,
}

/// Which topics a rule is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum TopicSet {
    /// Every topic, those with a leading `$` included. No filter says this.
    #[default]
    Everything,
    /// What one of these matches. None matches nothing.
    Some(Vec<TopicTemplate>),
}

/// Whom a rule concerns: who is in each list that is there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Who {
    /// User names.
    pub usernames: Option<Vec<String>>,
    /// Client identifiers.
    pub client_ids: Option<Vec<String>>,
    /// Addresses.
    pub networks: Option<Vec<Network>>,
    /// Tenants.
    pub namespaces: Option<Vec<String>>,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// What it says.
    pub permission: Permission,
    /// About which action.
    pub action: Action,
    /// To whom.
    pub who: Who,
    /// By which QoS, 0 to 2; none is any.
    pub qos: Option<Vec<u8>>,
    /// For publishing: with RETAIN as this says; none is either.
    pub retain: Option<bool>,
    /// About which topics.
    pub topics: TopicSet,
}

/// All rules of an operator, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessRules {
    /// The first that fits decides.
    pub rules: Vec<Rule>,
    /// Where none fits.
    pub no_match: Permission,
    /// What a refusal means for the connection.
    pub deny_action: DenyAction,
}

/// A client, as rules know it.
#[derive(Debug, Clone, Copy)]
pub struct Principal<'a> {
    /// The user name.
    pub username: Option<&'a str>,
    /// The client identifier; empty where the broker is still to assign one.
    pub client_id: &'a str,
    /// The common name in the client's verified certificate.
    pub cert_common_name: Option<&'a str>,
    /// The tenant; none for the global namespace.
    pub namespace: Option<&'a str>,
    /// Where it comes from.
    pub address: IpAddr,
}

/// What one client may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acl {
    rules: Box<[Filled]>,
    no_match: Permission,
    deny_action: DenyAction,
    mount: Box<str>,
}

/// A rule that concerns a client, its values filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Filled {
    permission: Permission,
    action: Action,
    qos: Option<Box<[u8]>>,
    retain: Option<bool>,
    /// None is everything.
    topics: Option<Box<[Pattern]>>,
}

/// What a client is about to do, or to get.
#[derive(Debug, Clone, Copy)]
enum Deed<'a> {
    Publish { topic: &'a str, qos: u8, retain: bool },
    Subscribe { filter: &'a str, qos: u8 },
    Receive { topic: &'a str, qos: u8 },
}

impl Who {
    fn is(&self, principal: &Principal<'_>) -> bool {
        let among = |list: &Option<Vec<String>>, value: Option<&str>| {
            list.as_ref().is_none_or(|list| list.iter().any(|text| Some(text.as_str()) == value))
        };
        among(&self.usernames, principal.username)
            && among(&self.client_ids, Some(principal.client_id))
            && among(&self.namespaces, principal.namespace)
            && self.networks.as_ref().is_none_or(|list| list.iter().any(|network| network.contains(principal.address)))
    }
}

impl AccessRules {
    /// What one client may do. `mount` is what the broker puts before its topics.
    ///
    /// # Errors
    /// The client's user name or common name has a wildcard in it and a rule takes it as a level. Such a name is
    /// nobody's honest one, and its client is better refused than let in with fewer rights than somebody meant.
    /// A client identifier of that kind only fits no allowing rule.
    pub fn of(&self, principal: &Principal<'_>, mount: &str) -> Result<Acl, WildcardInName> {
        let concerned = self.rules.iter().filter(|rule| rule.who.is(principal));
        let rules = concerned.map(|rule| rule.fill(principal)).collect::<Result<_, _>>()?;
        Ok(Acl { rules, no_match: self.no_match, deny_action: self.deny_action, mount: mount.into() })
    }
}

impl Rule {
    fn fill(&self, principal: &Principal<'_>) -> Result<Filled, WildcardInName> {
        let topics = match &self.topics {
            TopicSet::Everything => None,
            TopicSet::Some(templates) => {
                let filled = templates.iter().map(|template| template.fill(self.permission, principal));
                Some(filled.filter_map(Result::transpose).collect::<Result<_, _>>()?)
            }
        };
        let qos = self.qos.as_deref().map(Into::into);
        Ok(Filled { permission: self.permission, action: self.action, qos, retain: self.retain, topics })
    }
}

impl Acl {
    /// Whether the client may publish to a topic.
    pub fn may_publish(&self, topic: &str, qos: u8, retain: bool) -> bool {
        self.within_mount(topic).is_some_and(|topic| self.allows(Deed::Publish { topic, qos, retain }))
    }

    /// Whether the client may subscribe to a filter, given without its `$share/NAME/`.
    pub fn may_subscribe(&self, filter: &str, qos: u8) -> bool {
        self.within_mount(filter).is_some_and(|filter| self.allows(Deed::Subscribe { filter, qos }))
    }

    /// Whether the client may get a message of this topic by a subscription of this QoS.
    pub fn may_receive(&self, topic: &str, qos: u8) -> bool {
        self.within_mount(topic).is_some_and(|topic| self.allows(Deed::Receive { topic, qos }))
    }

    /// What a refusal means for the connection.
    pub fn deny_action(&self) -> DenyAction {
        self.deny_action
    }

    /// As the client sees it; none where it could not see it, which no rule allows.
    fn within_mount<'t>(&self, topic: &'t str) -> Option<&'t str> {
        topic.strip_prefix(&*self.mount)
    }

    fn allows(&self, deed: Deed<'_>) -> bool {
        let first = self.rules.iter().find(|rule| rule.fits(deed));
        first.map_or(self.no_match, |rule| rule.permission) == Permission::Allow
    }
}

impl Filled {
    fn fits(&self, deed: Deed<'_>) -> bool {
        let (action, by_qos) = match deed {
            Deed::Publish { qos, .. } => (Action::Publish, qos),
            Deed::Subscribe { qos, .. } | Deed::Receive { qos, .. } => (Action::Subscribe, qos),
        };
        let retain = match deed {
            Deed::Publish { retain, .. } => self.retain.is_none_or(|wanted| wanted == retain),
            Deed::Subscribe { .. } | Deed::Receive { .. } => true,
        };
        (self.action == action || self.action == Action::All)
            && self.qos.as_ref().is_none_or(|list| list.contains(&by_qos))
            && retain
            && self.topics.as_ref().is_none_or(|patterns| patterns.iter().any(|pattern| self.meets(pattern, deed)))
    }

    fn meets(&self, pattern: &Pattern, deed: Deed<'_>) -> bool {
        let denies = self.permission == Permission::Deny;
        match deed {
            // A subscription that an exact rule allowed gets what its filter matches, while an exact rule that
            // denies one spelling of a filter says nothing of the topics below it.
            Deed::Receive { topic, .. } if pattern.exact && !denies => covers(&pattern.text, topic, false),
            Deed::Publish { topic: text, .. }
            | Deed::Subscribe { filter: text, .. }
            | Deed::Receive { topic: text, .. } => {
                if pattern.exact {
                    *pattern.text == *text
                } else {
                    covers(&pattern.text, text, denies)
                }
            }
        }
    }
}
