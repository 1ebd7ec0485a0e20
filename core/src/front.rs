//! What a request of the phone network means, and whether it may come in: routes, order of checks, tickets.
