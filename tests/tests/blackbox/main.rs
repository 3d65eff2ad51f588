//! The real binary over real sockets, driven by bytes that no client would send and by clients that were
//! written elsewhere. One executable, so that it is linked once; the names of the tests carry the ids of
//! the cases that they hold.

// A failed step ends the case; here is no caller who could do better.
#![allow(clippy::unwrap_used, clippy::doc_markdown)]

mod a_18_mutations;
mod a_framing;
mod b_auth;
mod b_connect;
mod b_sessions;
mod c_order;
mod c_publish;
mod config_cli;
mod d_subscribe;
mod e_access;
mod e_users;
mod f_17_key_types;
mod f_asked;
mod f_failures;
mod f_keys;
mod f_names;
mod f_tls;
mod fixture;
mod frames;
mod g_identity;
mod g_session;
mod h_ocsp;
mod h_reload;
mod h_resumption;
mod h_revalidation;
mod h_revocation;
mod h_revocation_fetch;
mod interop;
mod isolation;
mod j_plugins;
mod k_limits;
mod k_overload;
mod l_durability;
mod lifecycle;
mod metrics;
mod sys_topics;
mod t_proxy_tls;
mod t_transports;
