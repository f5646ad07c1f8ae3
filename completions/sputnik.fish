# SPDX-License-Identifier: MIT
# Completion of sputnik for fish. Commands and options come from the program itself, so they are always its own.
function __sputnik_options
    set -l words (commandline -opc)
    test (count $words) -ge 2; or return
    sputnik help --options-dump 2> /dev/null | while read -l -d \t command letter name value text
        test "$command" = "$words[2]"; and printf '%s\t%s\n' --$name $text
    end
    printf '%s\t%s\n' --help 'show the help'
end
complete -c sputnik -n __fish_use_subcommand -f -a '(sputnik help --commands-dump 2> /dev/null)'
complete -c sputnik -n 'not __fish_use_subcommand; and string match -q -- "-*" (commandline -ct)' -f -a '(__sputnik_options)'
complete -c sputnik -n '__fish_seen_subcommand_from help' -f -a '(sputnik help --commands-dump 2> /dev/null)'
complete -c sputnik -n '__fish_seen_subcommand_from pull' -f -a '(sputnik pull --list 2> /dev/null | string replace -r " .*" "")'
complete -c sputnik -n '__fish_seen_subcommand_from data; and test (count (commandline -opc)) -eq 2' -f -a '(sputnik help data 2> /dev/null | string replace -rf "^Usage: .* data ([a-z|]*).*" "\$1" | string split "|")'
complete -c sputnik -n '__fish_seen_subcommand_from keys; and test (count (commandline -opc)) -eq 2' -f -a 'add list revoke'
complete -c sputnik -n '__fish_seen_subcommand_from chat serve run eval bench inspect tokenize logits perplexity; and test (count (commandline -opc)) -eq 2' -a nano -d 'the model that comes with the program'
