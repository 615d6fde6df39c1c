extension ModelShape {
    /// DeepSeek-V3, 671B. Source: its `config.json`; DeepSeek-V3 report, section 4.2.
    package static let deepSeekV3 = ModelShape(
        name: "deepseek-v3", hidden: 7168, layers: 61, denseLayers: 3, heads: 128,
        attention: .latent(query: 1536, latent: 512, rope: 64, nope: 128, value: 128),
        denseWidth: 18432, expertWidth: 2048, routedExperts: 256, sharedExperts: 1,
        activeExperts: 8, expertGroups: 8, keptGroups: 4, hasGateBias: true, vocabulary: 129280)

    /// DeepSeek-V2, 236B. Source: its `config.json`.
    package static let deepSeekV2 = ModelShape(
        name: "deepseek-v2", hidden: 5120, layers: 60, denseLayers: 1, heads: 128,
        attention: .latent(query: 1536, latent: 512, rope: 64, nope: 128, value: 128),
        denseWidth: 12288, expertWidth: 1536, routedExperts: 160, sharedExperts: 2,
        activeExperts: 6, expertGroups: 8, keptGroups: 3, vocabulary: 102400)

    /// Kimi K2, 1T. Source: its `config.json`.
    package static let kimiK2 = ModelShape(
        name: "kimi-k2", hidden: 7168, layers: 61, denseLayers: 1, heads: 64,
        attention: .latent(query: 1536, latent: 512, rope: 64, nope: 128, value: 128),
        denseWidth: 18432, expertWidth: 2048, routedExperts: 384, sharedExperts: 1,
        activeExperts: 8, hasGateBias: true, vocabulary: 163840)

    /// Qwen2.5-72B. Source: its `config.json`.
    package static let qwen72B = ModelShape(
        name: "qwen2.5-72b", hidden: 8192, layers: 80, denseLayers: 80, heads: 64,
        attention: .grouped(keyValueHeads: 8, headSize: 128, hasBias: true), denseWidth: 29568,
        vocabulary: 152064)

    /// Llama-3.1-405B. Source: its `config.json`.
    package static let llama405B = ModelShape(
        name: "llama-3.1-405b", hidden: 16384, layers: 126, denseLayers: 126, heads: 128,
        attention: .grouped(keyValueHeads: 8, headSize: 128, hasBias: false), denseWidth: 53248,
        vocabulary: 128256)

    /// What a command may name without a folder.
    package static let published = [deepSeekV3, deepSeekV2, kimiK2, qwen72B, llama405B]
}
