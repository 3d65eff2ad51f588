//! From a core module to a component, and what is in one.

use wit_component::{ComponentEncoder, DecodedWasm};
use wit_parser::{Resolve, WorldItem, WorldKey};

use crate::failure::Failure;

/// The gate's own package.
const GATE: &str = "postern:gate/";

/// The interfaces of the gate that every plugin exports without being a hook.
const LIFECYCLE: &str = "lifecycle";

/// What a component exports and imports.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) hooks: Vec<String>,
    pub(super) imports: Vec<String>,
}

/// Makes a component of a core module that carries wit-bindgen's metadata.
pub(super) fn encode(name: &str, module: &[u8]) -> Result<Vec<u8>, Failure> {
    ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| Failure::new(format!("{name} does not make a component")).because(format!("{error:#}")))
}

/// Reads the hooks and imports out of the component itself.
pub(super) fn describe(name: &str, component: &[u8]) -> Result<Contents, Failure> {
    let decoded = wit_component::decode(component)
        .map_err(|error| Failure::new(format!("{name} cannot be read back")).because(format!("{error:#}")))?;
    let DecodedWasm::Component(resolve, world) = decoded else {
        return Err(Failure::new(format!("{name} is a WIT package, not a component")));
    };
    let world = &resolve.worlds[world];
    let named = |items: &mut dyn Iterator<Item = (&WorldKey, &WorldItem)>| -> Vec<String> {
        items.filter(|(_, item)| has_functions(&resolve, item)).map(|(key, _)| short(&resolve, key)).collect()
    };
    let hooks = named(&mut world.exports.iter()).into_iter().filter(|hook| hook != LIFECYCLE).collect();
    Ok(Contents { hooks, imports: named(&mut world.imports.iter()) })
}

/// Interfaces with nothing but types come along with the functions that use them; they grant nothing.
fn has_functions(resolve: &Resolve, item: &WorldItem) -> bool {
    match item {
        WorldItem::Interface { id, .. } => !resolve.interfaces[*id].functions.is_empty(),
        WorldItem::Function(_) => true,
        WorldItem::Type { .. } => false,
    }
}

fn short(resolve: &Resolve, key: &WorldKey) -> String {
    let full = resolve.name_world_key(key);
    match full.strip_prefix(GATE) {
        Some(rest) => rest.split('@').next().unwrap_or(rest).to_owned(),
        None => full,
    }
}
