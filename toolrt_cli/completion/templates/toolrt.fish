# fish completion of toolrt.
# @GENERATED@ Do not edit.
#
# Nothing here evaluates what stands on the line or what toolrt prints.

# Prints the command that stands before the cursor, its words joined by spaces, then
# its arguments, one a line; options and their values are left out.
function __toolrt_line
    set -l words (commandline -opc)
    set -l command ''
    set -l arguments
    set -e words[1]
    while set -q words[1]
        set -l word $words[1]
        set -e words[1]
        if test "$word" = --
            set -a arguments $words
            break
        else if string match -q -- '-?*' $word
            switch "$command $word"
                case @VALUES@
                    set -e words[1]
            end
        else if not set -q arguments[1]
            and contains -- "$command $word" @COMMANDS@
            set command (string trim -- "$command $word")
        else
            set -a arguments $word
        end
    end
    printf '%s\n' "$command" $arguments
end

# Whether the command is $argv.
function __toolrt_in
    set -l line (__toolrt_line)
    test "$line[1]" = "$argv"
end

# Whether $argv[1] arguments of the command $argv[2..] stand before the cursor, or more
# than it takes, where that is a number and a plus.
function __toolrt_at
    set -l line (__toolrt_line)
    set -l place (math (count $line) - 1)
    test "$line[1]" = "$argv[2..]"
    and if string match -q '*+' -- $argv[1]
        test $place -ge (string trim -c + -- $argv[1])
    else
        test $place -eq $argv[1]
    end
end

# Prints what toolrt prints for $argv: a kind, and for arguments the tool.
function __toolrt_ask
    set -l words (commandline -opc)
    set -l config
    while set -q words[2]
        set -e words[1]
        switch $words[1]
            case '--config=*'
                set config $words[1]
            case --config
                if string match -q '~/*' -- $words[2]
                    set config --config=$HOME/(string sub -s 3 -- $words[2])
                else if set -q words[2]
                    set config --config=$words[2]
                end
        end
    end
    command toolrt $config __complete $argv 2>/dev/null </dev/null
end

# Prints the files that $argv[2], as it was typed, can become, with $argv[1] before each.
function __toolrt_files
    for file in (complete -C "'' $argv[2]")
        printf '%s\n' "$argv[1]$file"
    end
end

# @FILE or text.
function __toolrt_json
    set -l file (string match -r '^@(.*)' -- (commandline -ct))
    and __toolrt_files @ "$file[2]"
end

# NAME=VALUE, NAME:=JSON or NAME@FILE of the tool on the line.
function __toolrt_arguments
    set -l word (string match -r '^([^=@]*)([=@])(.*)' -- (commandline -ct))
    if not set -q word[1]
        set -l line (__toolrt_line)
        __toolrt_ask arguments $line[2]
    else if not string match -q '*:' -- $word[2]
        __toolrt_files "$word[2]$word[3]" "$word[4]"
    end
end

# FIELD=VALUE, or not: before it.
function __toolrt_filters
    set -l word (commandline -ct)
    set -l before (string match -r '^not:' -- $word)
    set -l kind
    switch (string replace -r '^not:' '' -- $word)
@ASKING@
        case '*=*'
            return
        case '*'
            printf "$before%s\t%s\n" \
@FIELDS@
            return
    end
    set before (string match -r '^[^=]*=' -- $word)
    for name in (__toolrt_ask $kind)
        printf '%s\n' "$before$name"
    end
end

complete -c toolrt -e
complete -c toolrt -f
@GLOBAL@
@LINES@
