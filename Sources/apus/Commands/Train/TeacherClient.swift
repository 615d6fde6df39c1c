import ArgumentParser
import Cluster
import Foundation
import Topology
import Training

/// Asks a teacher over an OpenAI-compatible API, one question after the other.
struct TeacherClient {
    private let teacher: Teacher
    private let stop = StopFlag.onSignals()

    init(_ teacher: Teacher) { self.teacher = teacher }

    /// Asks what is not answered yet, and keeps every answer as it comes.
    ///
    /// - Throws: `TrainingError.teacher` with what the endpoint said; `ExitCode` after Ctrl-C.
    func record(for job: TrainingJob) throws {
        let recording = try TeacherRecording(teacher, field: job.textField, path: job.recording)
        let count = recording.open.count
        for (index, question) in recording.open.enumerated() {
            try recording.add(answer(to: question), to: question)
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

    private func answer(to question: TeacherRecording.Question) throws -> String {
        let base = teacher.url.hasSuffix("/") ? String(teacher.url.dropLast()) : teacher.url
        let path = base + (teacher.chat ? "/chat/completions" : "/completions")
        guard URL(string: path) != nil else {
            throw TrainingError.teacher(path, fact: "is no address")
        }
        let key = ProcessInfo.processInfo.environment[teacher.keyVariable]
        let body = Body(
            model: teacher.model, prompt: teacher.chat ? nil : question.prompt,
            messages: teacher.chat ? [.init(role: "user", content: question.prompt)] : nil,
            max_tokens: teacher.maxTokens, temperature: teacher.temperature,
            seed: question.sample)
        let answer: CurlRequest.Answer
        do {
            answer = try CurlRequest(
                url: path, body: JSONEncoder().encode(body), key: key == "" ? nil : key,
                limitSeconds: teacher.timeoutSeconds
            ).send(stop: stop)
        } catch let failure as CurlRequest.Failure {
            if let signal = stop.raisedBy { throw ExitCode(ExitStatus.signal(signal).code) }
            throw TrainingError.teacher(path, fact: failure.fact)
        }
        guard answer.status == 200 else {
            let said = String(decoding: answer.body.prefix(300), as: UTF8.self)
            throw TrainingError.teacher(path, fact: "answered \(answer.status): \(said)")
        }
        let choice: Answer.Choice?
        do {
            choice = try JSONDecoder().decode(Answer.self, from: answer.body).choices.first
        } catch {
            throw TrainingError.teacher(path, fact: "answered what is no completion: \(error)")
        }
        guard let text = choice?.text ?? choice?.message?.content else {
            throw TrainingError.teacher(path, fact: "answered without text")
        }
        return teacher.chat ? "\n" + text : text
    }
}
