"""gin settings of a network that is small enough to train in a test."""

SIZES = {
    "t5_config.T5Config.emb_dim": 16,
    "t5_config.T5Config.num_heads": 2,
    "t5_config.T5Config.num_encoder_layers": 1,
    "t5_config.T5Config.num_decoder_layers": 1,
    "t5_config.T5Config.head_dim": 8,
    "t5_config.T5Config.mlp_dim": 16,
}
