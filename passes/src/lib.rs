//! Machine-independent half of pamc.
