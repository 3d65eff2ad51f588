//! J: plugins that misbehave.
