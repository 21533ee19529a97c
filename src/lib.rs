//! pamc: train and run neural networks without multiplying.
