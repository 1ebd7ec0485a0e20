//! Which calls exist, who is rebuilt, who is turned away.
