//! Typed bindings of `wit/gate.wit`, generated. A plugin exports `lifecycle` and one hook or more, so
//! the exports are taken one interface at a time and not as a whole world.
#![allow(missing_docs, unreachable_pub, clippy::pedantic)]

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "full-plugin",
    // A host function that is over its quota ends the call.
    imports: { default: trappable },
    exports: { default: async },
});
