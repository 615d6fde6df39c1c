import Foundation
import Training

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

/// Asks a teacher over an OpenAI-compatible API, one question after the other.
struct TeacherClient {
    private let teacher: Teacher

    init(_ teacher: Teacher) { self.teacher = teacher }

    /// Asks what is not answered yet, and keeps every answer as it comes.
    ///
    /// - Throws: `TrainingError.teacher` with what the endpoint said.
    func record(for job: TrainingJob) async throws {
        let recording = try TeacherRecording(teacher, field: job.textField, path: job.recording)
        let count = recording.open.count
        for (index, question) in recording.open.enumerated() {
            try recording.add(await answer(to: question), to: question)
            if (index + 1).isMultiple(of: 10) || index + 1 == count {
                print("teacher \(teacher.model): \(index + 1) of \(count) answers")
            }
        }
    }

    private struct Body: Encodable {
        struct Message: Encodable {
            let role: String
            let content: String
        }

        let model: String
        let prompt: String?
        let messages: [Message]?
        let max_tokens: Int
        let temperature: Double
        let seed: Int
    }

    private struct Answer: Decodable {
        struct Message: Decodable { let content: String? }
        struct Choice: Decodable {
            let text: String?
            let message: Message?
        }
        let choices: [Choice]
    }

    private func answer(to question: TeacherRecording.Question) async throws -> String {
        let base = teacher.url.hasSuffix("/") ? String(teacher.url.dropLast()) : teacher.url
        let path = base + (teacher.chats ? "/chat/completions" : "/completions")
        guard let url = URL(string: path) else {
            throw TrainingError.teacher(path, fact: "is no address")
        }
        var request = URLRequest(url: url, timeoutInterval: teacher.timeoutSeconds)
        request.httpMethod = "POST"
        request.setValue("application/json", forHTTPHeaderField: "Content-Type")
        if let key = ProcessInfo.processInfo.environment[teacher.keyVariable], !key.isEmpty {
            request.setValue("Bearer \(key)", forHTTPHeaderField: "Authorization")
        }
        request.httpBody = try JSONEncoder().encode(
            Body(
                model: teacher.model, prompt: teacher.chats ? nil : question.prompt,
                messages: teacher.chats ? [.init(role: "user", content: question.prompt)] : nil,
                max_tokens: teacher.maximumTokens, temperature: teacher.temperature,
                seed: question.sample))
        let data: Data
        let response: URLResponse
        do {
            (data, response) = try await URLSession.shared.data(for: request)
        } catch {
            throw TrainingError.teacher(path, fact: error.localizedDescription)
        }
        let status = (response as? HTTPURLResponse)?.statusCode ?? 0
        guard status == 200 else {
            let said = String(decoding: data.prefix(300), as: UTF8.self)
            throw TrainingError.teacher(path, fact: "answered \(status): \(said)")
        }
        let choice: Answer.Choice?
        do {
            choice = try JSONDecoder().decode(Answer.self, from: data).choices.first
        } catch {
            throw TrainingError.teacher(path, fact: "answered what is no completion: \(error)")
        }
        guard let text = choice?.text ?? choice?.message?.content else {
            throw TrainingError.teacher(path, fact: "answered without text")
        }
        return teacher.chats ? "\n" + text : text
    }
}
