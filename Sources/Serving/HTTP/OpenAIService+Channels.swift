import Language

/// Chats whose answers are messages in channels.
extension OpenAIService {
    /// Constrains an answer to the calls and the words that the request asks for, in the model's
    /// own messages.
    ///
    /// A thought may come first, unless the request says none.
    ///
    /// - Returns: Nil: no call is begun in the prompt.
    func constrainMessages(_ plan: inout ChatPlan, _ tools: [Tool]) -> Tool? {
        let form = CallConstraint(tokenizer: text.tokenizer, form: .channeled)
        let (choice, words) = (plan.chat.toolChoice, plan.fields.constraint)
        let thinks = plan.chat.thinks != false
        switch choice {
        case .none:
            plan.fields.constraint = words.map {
                form.answer(words: $0, tools: [], thinks: thinks)
            }
        case .auto:
            guard let words else {
                plan.freeCalls = FreeCalls(form: form, tools: tools, limit: 1)
                break
            }
            // The members of structured_outputs say what the whole text is.
            let others = plan.fields.isResponseFormat ? tools : []
            plan.fields.constraint = form.answer(words: words, tools: others, thinks: thinks)
        case .named, .required:
            let forced = tools.filter { choice == .required || choice == .named($0.name) }
            plan.fields.constraint = form.answer(words: nil, tools: forced, thinks: thinks)
        }
        return nil
    }
}

extension ModelText {
    /// The tokens of the author of an answer, with which prompts end.
    var answerAuthor: [Int] {
        tokenizer.encode(
            ChatTemplate.answerAuthor, addSpecialTokens: false, recogniseAddedTokens: false)
    }
}
