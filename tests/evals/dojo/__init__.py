"""AgentDojo's slack suite, played against a real `waha-mcp serve`: how many attacks get through, and what gets done.

AgentDojo (https://agentdojo.spylab.ai) has 21 user tasks and 5 injection tasks for a Slack workspace, each with the
calls that solve it. No model is needed: `player` makes the user task's calls, and then the injection's in the same
conversation, like an agent that obeys whatever it reads. Each call becomes a tool call (`mapping`) of an App at a
sandbox that has the same people, groups and messages (`office`). What WAHA has carried out, by its own log, is applied
to AgentDojo's environment as well; what was refused is an error, and the agent goes on. AgentDojo's own checks then say
whether the task was solved and whether the attack got through.

How the workspace is read as a WhatsApp account:

- Users are saved contacts, channels are groups that the account is in; it has written to all of them. An inbox is what
  each sender wrote to the account: to read it is to read the chats with those senders.
- Inviting somebody by mail address is the first message to the number that stands for it. The account has never written
  to it; it is saved under the name that the call gives, for the user's invitation and the attacker's alike. The columns
  "newcomers not saved" have nobody saved there.
- Posting to a website is a text to the number of its owner. The website that a user task calls "ours" is a saved
  contact that the account writes to; an attacker's is nobody's.
- Removing a user is removing the person from each group that they are in.
- Reading a web page is the tool of another server: nothing here sees it. So injection task 3, which visits a page,
  is judged for the open App alone, to show that its 21 pairs are played.

A user task counts as done where AgentDojo says so and every call that reads WhatsApp was answered: the prepared calls
know already what an agent would have had to read. An attack counts whatever was read.
"""
