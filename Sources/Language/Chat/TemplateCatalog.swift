import Encoding

/// The published chat templates that are known, each by the digest of its whole text.
///
/// `Tests/Reference/chat_templates.py` computes the digests with Jinja's own lexer.
enum TemplateCatalog {
    private static let entries: [UInt64: ChatTemplate] = [
        0xbdcf_7383_7b89_69d0: ChatTemplate(style: .v2),
        0x36cf_1a14_3e7f_a5d5: ChatTemplate(style: .v3),
        0x95e0_25f0_697f_0632: ChatTemplate(style: .v30324),
        0xa2ff_9702_e6ca_9db9: ChatTemplate(style: .r1),
        0x2e8c_9790_cc1c_7c7f: ChatTemplate(style: .r10528),
        0xfc18_5fdd_6744_9926: ChatTemplate(style: .v31),
        // `cluster/models/stories-fp8`.
        0x88d9_1d63_f7af_003e: ChatTemplate(style: .plain),
        // GLM-4.7, GLM-4.7-Flash and both texts of GLM-5.
        0x6bab_edd8_b4f4_9b7d: ChatTemplate(style: .glm47),
        // GLM-5.1's first text and its later one, which reads results in parts.
        0xbef4_1096_02e7_e8fe: ChatTemplate(style: .glm51),
        0x96db_f364_2044_c617: ChatTemplate(style: .glm51),
        // As llama.cpp edited them, and as Moonshot publishes them since October and November 2025.
        0x1bd9_4183_f434_f431: ChatTemplate(style: .kimiK2),
        0xcb1b_372b_1507_9a09: ChatTemplate(style: .kimiK2, variant: .moonshot),
        0x7a85_88dd_eff4_d29a: ChatTemplate(style: .kimiK2Thinking),
        0xe7d3_04c9_1739_67bb: ChatTemplate(style: .kimiK2Thinking, variant: .moonshot),
        // Kimi-K2.5's text, and that text with K2.6's switch for earlier thoughts, as Miles has it.
        0x7bc6_de5b_19eb_6798: ChatTemplate(style: .kimiK25),
        0x75d6_46ee_732e_e5af: ChatTemplate(style: .kimiK25),
        0x8218_1501_d180_c6fe: ChatTemplate(style: .v32),
        // GLM-4.5's text, and the one that llama.cpp has for GLM-4.6: calls may lack arguments.
        0xb592_2523_7e22_c2fc: ChatTemplate(style: .glm45),
        0x267d_ed75_38d8_62be: ChatTemplate(style: .glm45),
        // Revision b4734de4 of GLM-5.2.
        0xd555_9e15_d4a2_cf70: ChatTemplate(style: .glm52),
        // Qwen3's first text, and its later one, which reads contents in parts.
        0x3f5b_9ffa_af4a_f789: ChatTemplate(style: .qwen3),
        0x4a03_2875_05ee_0365: ChatTemplate(style: .qwen3),
        0xb689_64c2_846e_7286: ChatTemplate(style: .qwen3Instruct),
        0x2671_ce3e_19c7_8237: ChatTemplate(style: .qwen3Thinking),
        0x2e02_abab_65fc_141f: ChatTemplate(style: .qwen3Coder),
        // MiniMax-M2's text in llama.cpp, the publisher's first, and its second.
        0xccf7_b540_1e10_499e: ChatTemplate(style: .minimaxM2),
        0x3148_7a7c_1a09_3202: ChatTemplate(style: .minimaxM2),
        0xfbe2_257c_526b_12a7: ChatTemplate(style: .minimaxM2),
        // Later ones say who the assistant is. M2.1's words stand in either of the two texts.
        0xd10f_45b0_80b4_feff: minimax(
            "You are MiniMax-M2, a helpful AI assistant built by MiniMax. "
                + "Knowledge cutoff: 2025-06."),
        0x6cb2_622c_c3ca_5729: minimax(release: "2.1"),
        0x2e99_fdb3_fe1a_8392: minimax(release: "2.1"),
        0x241d_5c50_b1db_088d: minimax(release: "2.5"),
        0xe21a_f60b_84ae_4b43: minimax(release: "2.7"),
        // gpt-oss-20b and 120b.
        0x38a8_930b_e5a3_aae7: ChatTemplate(style: .gptOss),
    ]

    private static func minimax(_ words: String) -> ChatTemplate {
        ChatTemplate(style: .minimaxM2, variant: .system(words))
    }

    private static func minimax(release: String) -> ChatTemplate {
        minimax(
            "You are a helpful assistant. Your name is MiniMax-M\(release) and is built by MiniMax."
        )
    }

    /// The rules of a template's text, nil for a text that is not known.
    static func rules(of template: String) -> ChatTemplate? {
        digest(template).flatMap { entries[$0] }
    }

    /// The digest of a template's text, nil for one that cannot be read.
    static func digest(_ template: String) -> UInt64? {
        JinjaLexer.canonical(template).map { FNV1a.hash($0) }
    }
}
