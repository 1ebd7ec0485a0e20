//! Everything that is ever written down.
