//! The life of one phone call.
