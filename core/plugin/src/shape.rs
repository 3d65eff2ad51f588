//! What a component is, told from its own imports and exports.

use wasmtime::Engine;
use wasmtime::component::Component;

use crate::failure::LoadError;

/// Largest component file. A component of a compiled language has 10 to 200 kB, one with an interpreter
/// inside 20 MB.
pub const MAX_COMPONENT_BYTES: u64 = 64 << 20;

/// The version of the package in `wit/gate.wit`.
const WIT_VERSION: &str = "0.1.0";
const LIFECYCLE: &str = "postern:gate/lifecycle@0.1.0";
/// What the host links. The first two only define types.
const GRANTED: [&str; 5] = [
    "postern:gate/types@0.1.0",
    "postern:gate/certificates@0.1.0",
    "postern:gate/log@0.1.0",
    "postern:gate/clock@0.1.0",
    "postern:gate/bundle-directory@0.1.0",
];

/// A question that a plugin answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hook {
    /// Whose connection is this?
    Namespace,
    /// Which certificate answers?
    Certificate,
    /// Who is the client?
    Identity,
}

impl Hook {
    /// In the order in which they are asked.
    pub const ALL: [Self; 3] = [Self::Namespace, Self::Certificate, Self::Identity];

    /// The WIT interface without package and version.
    pub fn interface(self) -> &'static str {
        match self {
            Self::Namespace => "namespace-resolver",
            Self::Certificate => "cert-resolver",
            Self::Identity => "client-authorizer",
        }
    }
}

/// What a component asks for and offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// The questions it answers.
    pub hooks: Vec<Hook>,
    /// Its imports, all of them granted.
    pub imports: Vec<String>,
    /// The version of `postern:gate` that it was built for.
    pub wit_version: &'static str,
}

/// Refuses by the first bytes what is no component, before anything reads the rest.
pub(crate) fn check_bytes(bytes: &[u8]) -> Result<(), LoadError> {
    let found = bytes.len() as u64;
    if found > MAX_COMPONENT_BYTES {
        return Err(LoadError::TooBig { bytes: found, max: MAX_COMPONENT_BYTES });
    }
    if Engine::detect_precompiled(bytes).is_some() || bytes.starts_with(b"\x7fELF") {
        return Err(LoadError::NativeArtefact);
    }
    // Magic, then version and layer (component model binary format): layer 0 is a core module.
    match bytes.get(..8) {
        Some([0, b'a', b's', b'm', _, _, 1, 0]) => Ok(()),
        Some([0, b'a', b's', b'm', _, _, 0, 0]) => Err(LoadError::CoreModule),
        _ => Err(LoadError::NotWebAssembly),
    }
}

/// Reads imports and exports and refuses what is not granted.
pub(crate) fn shape_of(engine: &Engine, component: &Component) -> Result<Shape, LoadError> {
    let ty = component.component_type();
    let imports: Vec<String> = ty.imports(engine).map(|(name, _)| name.to_owned()).collect();
    if let Some(import) = imports.iter().find(|name| !GRANTED.contains(&name.as_str())) {
        return Err(LoadError::ImportNotGranted { reason: not_granted(import), import: import.clone() });
    }
    let exports: Vec<String> = ty.exports(engine).map(|(name, _)| name.to_owned()).collect();
    if !exports.iter().any(|name| name == LIFECYCLE) {
        return Err(LoadError::NoLifecycle(LIFECYCLE.to_owned()));
    }
    let exported = |hook: &Hook| {
        let name = format!("postern:gate/{}@{WIT_VERSION}", hook.interface());
        exports.contains(&name)
    };
    let hooks: Vec<Hook> = Hook::ALL.into_iter().filter(exported).collect();
    if hooks.is_empty() {
        return Err(LoadError::NoHook);
    }
    Ok(Shape { hooks, imports, wit_version: WIT_VERSION })
}

fn not_granted(import: &str) -> String {
    if import.starts_with("wasi:") {
        "not granted; this version of Postern grants no WASI".to_owned()
    } else if import.starts_with("postern:gate/") {
        format!("not granted; this version of Postern knows postern:gate@{WIT_VERSION} only")
    } else {
        "not granted; plugins get postern:gate and nothing else".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_tell_components_from_the_rest() {
        assert!(check_bytes(b"\0asm\x0d\0\x01\0").is_ok());
        assert!(matches!(check_bytes(b"\0asm\x01\0\0\0"), Err(LoadError::CoreModule)));
        assert!(matches!(check_bytes(b"\x7fELF\x02\x01\x01\0"), Err(LoadError::NativeArtefact)));
        assert!(matches!(check_bytes(b"(component)"), Err(LoadError::NotWebAssembly)));
        assert!(matches!(check_bytes(b""), Err(LoadError::NotWebAssembly)));
    }
}
