/// The structural tokens of DeepSeek's models; others have those around thoughts, too.
package enum ChatToken: String {
    case beginningOfSequence = "<｜begin▁of▁sentence｜>"
    case endOfSequence = "<｜end▁of▁sentence｜>"
    case user = "<｜User｜>"
    case assistant = "<｜Assistant｜>"
    case beginThinking = "<think>"
    case endThinking = "</think>"
    case beginCalls = "<｜tool▁calls▁begin｜>"
    case endCalls = "<｜tool▁calls▁end｜>"
    case beginCall = "<｜tool▁call▁begin｜>"
    case endCall = "<｜tool▁call▁end｜>"
    case separator = "<｜tool▁sep｜>"
    case beginOutputs = "<｜tool▁outputs▁begin｜>"
    case endOutputs = "<｜tool▁outputs▁end｜>"
    case beginOutput = "<｜tool▁output▁begin｜>"
    case endOutput = "<｜tool▁output▁end｜>"
}

/// The structural tokens of Moonshot's Kimi-K2.
enum KimiToken: String {
    case system = "<|im_system|>"
    case user = "<|im_user|>"
    case assistant = "<|im_assistant|>"
    case middle = "<|im_middle|>"
    case end = "<|im_end|>"
    case beginCalls = "<|tool_calls_section_begin|>"
    case endCalls = "<|tool_calls_section_end|>"
    case beginCall = "<|tool_call_begin|>"
    case beginArguments = "<|tool_call_argument_begin|>"
    case endCall = "<|tool_call_end|>"
}

/// The structural tokens of Qwen3.
enum QwenToken: String, CaseIterable {
    case start = "<|im_start|>"
    case end = "<|im_end|>"
    case beginCall = "<tool_call>"
    case endCall = "</tool_call>"
    case beginResponse = "<tool_response>"
    case endResponse = "</tool_response>"
    case beginThinking = "<think>"
    case endThinking = "</think>"
}

/// The structural tokens of MiniMax-M2.
enum MiniMaxToken: String, CaseIterable {
    case beginning = "]~!b["
    case start = "]~b]"
    case end = "[e~["
    case beginCalls = "<minimax:tool_call>"
    case endCalls = "</minimax:tool_call>"
    case beginThinking = "<think>"
    case endThinking = "</think>"
}

/// The structural tokens of OpenAI's gpt-oss (harmony).
package enum HarmonyToken: String, CaseIterable, Sendable {
    case start = "<|start|>"
    case end = "<|end|>"
    case message = "<|message|>"
    case channel = "<|channel|>"
    case constrain = "<|constrain|>"
    case `return` = "<|return|>"
    case call = "<|call|>"

    /// Stands for the token in the text of an answer: a scalar that is no character, so words that
    /// spell a token are not taken for it.
    package var sign: Unicode.Scalar { Self.signs[Self.allCases.firstIndex(of: self) ?? 0] }

    /// The token that a scalar stands for.
    package init?(sign: Unicode.Scalar) {
        guard let index = Self.signs.firstIndex(of: sign) else { return nil }
        self = Self.allCases[index]
    }

    /// Of the scalars that Unicode keeps out of texts.
    private static let signs = (UInt32(0xFDD0) ..< 0xFDD7).compactMap(Unicode.Scalar.init)
}

/// The structural tokens of Z.ai's GLM-4.5 and its successors.
enum GLMToken: String {
    case mask = "[gMASK]"
    case start = "<sop>"
    case system = "<|system|>"
    case user = "<|user|>"
    case assistant = "<|assistant|>"
    case observation = "<|observation|>"
    case beginCall = "<tool_call>"
    case endCall = "</tool_call>"
    case beginKey = "<arg_key>"
    case endKey = "</arg_key>"
    case beginValue = "<arg_value>"
    case endValue = "</arg_value>"
    case beginResponse = "<tool_response>"
    case endResponse = "</tool_response>"
    /// Ends a user's turn that asks for no thought, in GLM-4.5.
    case noThinking = "/nothink"
}
