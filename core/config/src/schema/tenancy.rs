//! `multi_tenancy`.

use postern_identity::names::NamespaceName;

use super::mqtt::{bytes, count, is_word};
use super::socket::publish_rates;
use crate::emqx;
use crate::model::Listener;
use crate::mqtt::Retainer;
use crate::reader::{Item, Reader, Section, nearest};
use crate::tenancy::{MultiTenancy, TenantLimits};

/// Tenants with limits of their own.
const MAX_NAMESPACES: usize = 10_000;
/// Sessions, connections and subscriptions: each is some hundred bytes of memory at least.
const COUNT: (u64, u64) = (1, 100_000_000);
/// Bytes of what a tenant holds.
const BYTES: (u64, u64) = (1024, 1 << 40);

pub(super) fn multi_tenancy(
    reader: &mut Reader<'_>,
    item: Option<&Item<'_>>,
    retainer: &Retainer,
    listeners: &[Listener],
) -> MultiTenancy {
    let mut tenancy = MultiTenancy { default: TenantLimits::new(retainer), ..MultiTenancy::default() };
    let Some(mut section) = item.and_then(|item| reader.section(item)) else { return tenancy };
    let sessions = section.take("default_max_sessions");
    if let Some(item) = sessions.as_ref().filter(|item| !is_word(item, "infinity")) {
        count(reader, Some(item.clone()), COUNT, &mut tenancy.default.max_sessions);
    }
    if let Some(item) = section.take("default")
        && let Some(mut section) = reader.section(&item)
    {
        let twice = section.take("max_sessions").filter(|_| sessions.is_some());
        if let Some(item) = twice {
            let text = "is the same as `default_max_sessions`, which is there too";
            reader.problem(item.key_at, &item.path, text, Some("remove one of them"));
        }
        tenancy.default = limits(reader, &mut section, tenancy.default);
    }
    if let Some(names) = section.take("namespaces").and_then(|item| reader.section(&item)) {
        if names.all().count() > MAX_NAMESPACES {
            let text = format!("more than {MAX_NAMESPACES} namespaces");
            reader.problem(names.at, &names.path, text, Some("give most of them the limits of `default`"));
        }
        for (name, item) in names.all() {
            let Some(name) = namespace(reader, name, &item, listeners) else { continue };
            if let Some(mut section) = reader.section(&item) {
                tenancy.namespaces.insert(name, limits(reader, &mut section, tenancy.default));
            }
        }
    }
    reader.finish(&section, emqx::MULTI_TENANCY);
    tenancy
}

/// A name that no listener has is a warning: its limits would hold for nobody.
fn namespace(reader: &mut Reader<'_>, name: &str, item: &Item<'_>, listeners: &[Listener]) -> Option<NamespaceName> {
    let checked = NamespaceName::new(name);
    let Ok(checked) = checked else {
        reader.problem(item.key_at, &item.path, "is no name of a namespace", None);
        return None;
    };
    let mut known = listeners.iter().flat_map(|listener| &listener.namespaces);
    if !known.any(|known| *known == checked) {
        let known = listeners.iter().flat_map(|listener| &listener.namespaces).map(AsRef::as_ref);
        let hint = nearest(name, known).map(|near| format!("did you mean `{near}`?"));
        reader.warn(item.key_at, &item.path, "no listener has this namespace", hint.as_deref());
    }
    Some(checked)
}

/// What is not written is as in `base`.
fn limits(reader: &mut Reader<'_>, section: &mut Section<'_>, base: TenantLimits) -> TenantLimits {
    let mut limits = base;
    count(reader, section.take("max_sessions"), COUNT, &mut limits.max_sessions);
    count(reader, section.take("max_connections"), COUNT, &mut limits.max_connections);
    let per_identity = section.take("max_connections_per_identity");
    count(reader, per_identity, COUNT, &mut limits.max_connections_per_identity);
    count(reader, section.take("max_subscriptions"), COUNT, &mut limits.max_subscriptions);
    count(reader, section.take("max_retained_messages"), COUNT, &mut limits.max_retained_messages);
    bytes(reader, section.take("max_retained_size"), BYTES, &mut limits.max_retained_size);
    bytes(reader, section.take("max_mqueue_size"), BYTES, &mut limits.max_mqueue_size);
    limits.rates = publish_rates(reader, section).or(base.rates);
    reader.finish(section, emqx::TENANT);
    limits
}
