//! What is answered.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::IntoResponse;
use axum::routing::get;
use postern_server::metrics::Metrics;

use crate::exposition;

/// All routes. `/api/v5/prometheus/stats` is EMQX's path for what is at `/metrics`.
pub(crate) fn routes(metrics: Arc<Metrics>) -> Router {
    Router::new()
        .route("/metrics", get(figures))
        .route("/api/v5/prometheus/stats", get(figures))
        .route("/status", get(status))
        .with_state(metrics)
}

async fn figures(State(metrics): State<Arc<Metrics>>) -> impl IntoResponse {
    let headers = [(CONTENT_TYPE, exposition::CONTENT_TYPE), (CACHE_CONTROL, "no-store")];
    (headers, exposition::render(&metrics.families()))
}

/// In EMQX's words, which health checks look for.
async fn status(State(metrics): State<Arc<Metrics>>) -> impl IntoResponse {
    ([(CACHE_CONTROL, "no-store")], format!("Node {} is started\npostern is running\n", metrics.node()))
}
